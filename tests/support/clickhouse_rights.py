"""A right of the development server's users that is taken away, and given back, while services use it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from services.devstack import clickhouse_server
from services.devstack.clickhouse_config import ServerConfig, write_config
from services.devstack.clickhouse_server import ClickHouseProcess
from services.schema.roles import Role, grants_of


@contextmanager
def without_right(server: ClickHouseProcess, role: Role, right: str) -> Iterator[None]:
    """`right` as `grants_of` has it, in the database `headrace`.

    The server is started again each time: in local mode it reads its users once.
    """
    assert right in grants_of(role, "headrace")
    line = f"<query>GRANT {escape(right)}</query>"

    def write_without(data_dir: Path, config: ServerConfig, passwords: Mapping[Role, str]) -> None:
        write_config(data_dir, config, passwords)
        file = data_dir / "config" / "users.xml"
        before, user, after = file.read_text().partition(f"        <{role}>\n            <password")
        file.write_text(before + user + after.replace(line, "", 1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clickhouse_server, "write_config", write_without)
        _restart(server)
    try:
        yield
    finally:
        _restart(server)


def _restart(server: ClickHouseProcess) -> None:
    server.stop()
    server.start()
