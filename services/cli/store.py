"""What the operator's tools share: settings and ClickHouse."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from services.runtime.clickhouse import ClickHouse, StoreUnavailableError
from services.runtime.environment import Settings, read_settings
from services.runtime.operator_errors import OperatorError, print_error
from services.runtime.settings import ClickHouseSettings, unknown_settings

S = TypeVar("S", bound=Settings)


def tool_settings(kind: type[S]) -> S:
    """Says on standard error what looks like a mistake. Raises SettingsError."""
    for variable in unknown_settings():
        print_error(f"warning: {variable}")
    return read_settings(kind)


@contextmanager
def store_errors() -> Iterator[None]:
    """Adds to a failure to reach ClickHouse where its address is set. Raises OperatorError."""
    try:
        yield
    except StoreUnavailableError as error:
        raise OperatorError(f"ClickHouse does not answer. Is HEADRACE_CLICKHOUSE_URL right? {error}") from error


def with_store(work: Callable[[ClickHouse, ClickHouseSettings], Awaitable[None]]) -> None:
    """Connect, do the work, and disconnect. Raises OperatorError, and what the work raises."""
    settings = tool_settings(ClickHouseSettings)

    async def run() -> None:
        store = await ClickHouse.connect(settings)
        try:
            await work(store, settings)
        finally:
            await store.close()

    with store_errors():
        asyncio.run(run())
