"""What the operator's tools share: settings and ClickHouse."""

import asyncio
import os
import shlex
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from services.runtime.clickhouse import ClickHouse, StoreUnavailableError
from services.runtime.environment import Settings, read_settings
from services.runtime.operator_errors import OperatorError, print_error
from services.runtime.settings import ClickHouseSettings, unknown_settings

# Of a server that ours has asked: it is away, says nothing, or has ended the connection.
_SHARD_IS_AWAY = {
    32,  # ATTEMPT_TO_READ_AFTER_EOF
    33,  # CANNOT_READ_ALL_DATA
    209,  # SOCKET_TIMEOUT
    210,  # NETWORK_ERROR
    279,  # ALL_CONNECTION_TRIES_FAILED
}
S = TypeVar("S", bound=Settings)


def tool_settings(kind: type[S]) -> S:
    """Says on standard error what looks like a mistake. Raises SettingsError."""
    for variable in unknown_settings():
        print_error(f"warning: {variable}")
    return read_settings(kind)


def advice_on_address(variable: str) -> str:
    """What to look at when nobody answers at the address of this setting: also the file of a development stack."""
    file = Path(os.environ.get("HEADRACE_DATA") or ".data") / "env"
    advice = f"Is {variable} right?"
    if file.exists():
        advice += f" For the stack of `make run`, first: set -a; . {shlex.quote(str(file))}; set +a."
    return advice


@contextmanager
def store_errors() -> Iterator[None]:
    """Adds to a failure to reach ClickHouse where its address is set. With a code, the one at the address has answered. Raises
    OperatorError."""
    try:
        yield
    except StoreUnavailableError as error:
        if error.code in _SHARD_IS_AWAY:
            raise OperatorError(f"A server of the cluster does not answer. Start it, and try again. {error}") from error
        if error.code is not None:
            raise OperatorError(f"ClickHouse cannot do it now. Try again. {error}") from error
        raise OperatorError(
            f"ClickHouse does not answer. {advice_on_address('HEADRACE_CLICKHOUSE_URL')} {error}"
        ) from error


def with_store(work: Callable[[ClickHouse, ClickHouseSettings], Awaitable[None]]) -> None:
    """Connect, do the work, and disconnect. Raises OperatorError, and what the work raises."""
    from services.schema.topology import refuse_tables_of_cluster

    settings = tool_settings(ClickHouseSettings)

    async def run() -> None:
        store = await ClickHouse.connect(settings)
        try:
            if not settings.clickhouse_cluster:
                await refuse_tables_of_cluster(store, settings)
            await work(store, settings)
        finally:
            await store.close()

    with store_errors():
        asyncio.run(run())
