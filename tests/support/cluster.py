"""A cluster of real engines on this machine, and what stands for ZooKeeper between them.

The engine of the wheel has no port for replication and runs no ON CLUSTER. So the services speak to `Everywhere`: it passes
every statement on to one engine as it is, but for those that Keeper would have told all of them: definitions, and writes to
tables that are whole on every node. Distributed tables, their inserts and queries are ClickHouse's own.
"""

import os
import re
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import parse_qsl

import httpx
import uvicorn
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.contract.tables import SHARDED
from services.devstack.child_process import free_port
from services.devstack.clickhouse_config import Place, passwords_of
from services.devstack.clickhouse_server import ClickHouseProcess
from tests.support.zookeeper import missing_because

CLUSTER = "shop"
_ON_CLUSTER = re.compile(r"ON CLUSTER '\w+'")
_ENGINE = re.compile(r"ReplicatedReplacingMergeTree\('[^']*', '[^']*'(?:, )?")
_WRITES = re.compile(r"\s*(?:INSERT\s+INTO|ALTER\s+TABLE)\s+(?:TABLE\s+)?`?(?:(\w+)`?\.`?)?(\w+)", re.IGNORECASE)
_SELECTS = re.compile(r"\s*(INSERT\s+INTO\s+\S+\s*(?:\([^()]*\))?)\s*(SELECT\b.*)", re.IGNORECASE | re.DOTALL)
# Where rows lie that are not the same on every node.
_OF_SHARDS = {name for table in SHARDED for name in (table, f"{table}_local")}
_PASSED_ON = ("authorization", "x-clickhouse-user", "x-clickhouse-key", "user-agent")


class Statement(Struct):
    """A request to ClickHouse. `sql` came in the address or at the head of the body; `data` is what follows."""

    sql: str
    data: bytes
    parameters: dict[str, str]
    # The parameters came in the body, because there are many.
    is_form: bool = False

    @property
    def is_sync(self) -> bool:
        """Of a replica. Here every write is on every node before it is answered."""
        return self.sql.lstrip().startswith("SYSTEM SYNC REPLICA ")

    @property
    def is_definition(self) -> bool:
        return _ON_CLUSTER.search(self.sql) is not None

    @property
    def is_for_all(self) -> bool:
        """A write to a table that is whole on every node."""
        match = _WRITES.match(self.sql)
        return match is not None and match[2] not in _OF_SHARDS and not match[2].endswith(("_moving", "_moved"))

    @property
    def is_select_into_all(self) -> bool:
        return self.is_for_all and _SELECTS.match(self.sql) is not None


def as_plain(sql: str) -> str:
    """What ON CLUSTER would run on each node, with tables that do not replicate."""
    sql = _ENGINE.sub("ReplacingMergeTree(", _ON_CLUSTER.sub("", sql))
    return re.sub(r"(?<!non_)replicated_deduplication_window", "non_replicated_deduplication_window", sql)


class Everywhere:
    """HTTP on `port`, for engines at some addresses; `first` is the one that is asked."""

    def __init__(self, urls: Sequence[str], first: int = 0) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.first = first
        self.nodes = urls
        routes = [Route("/{path:path}", self._answer, methods=["GET", "POST"])]
        app = Starlette(routes=routes, lifespan=self._connected)
        config = uvicorn.Config(
            app, "127.0.0.1", self.port, loop="asyncio", log_config=None, timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    @asynccontextmanager
    async def _connected(self, _: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=300, limits=httpx.Limits(max_connections=None)) as self._http:
            yield

    async def _answer(self, request: Request) -> Response:
        given = dict(parse_qsl(request.url.query, keep_blank_values=True))
        headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
        body = await request.body()
        is_form = False
        kind = request.headers.get("content-type", "")
        if "boundary=" in kind and b'; filename="' in body:
            # A table goes with it: it only reads.
            return await self._pass_on(given, body, {**headers, "content-type": kind})
        if "boundary=" in kind:
            # Parameters, where there are many.
            given |= _fields(body, kind.partition("boundary=")[2].strip('"'))
            body, is_form = b"", True
        sql = given.pop("query", "")
        statement = Statement(sql, body, given, is_form) if sql else Statement(*_split(body), given)
        try:
            return await self._run(statement, headers)
        except httpx.HTTPError as error:
            # As a connection that ends: there is no answer of ClickHouse.
            return Response(f"Code: 210. DB::NetException: {error!r}", 500, {"x-clickhouse-exception-code": "210"})

    async def _run(self, statement: Statement, headers: Mapping[str, str]) -> Response:
        if statement.is_sync:
            statement.sql = "SELECT 1"
        if statement.is_definition:
            statement.sql = as_plain(statement.sql)
            return await self._on_all(statement, headers)
        if statement.is_select_into_all:
            return await self._select_into_all(statement, headers)
        if statement.is_for_all:
            return await self._on_all(statement, headers)
        return await self._send(self.first, statement, headers)

    async def _on_all(self, statement: Statement, headers: Mapping[str, str]) -> Response:
        """The first refusal is the answer: a quorum of two is both."""
        order = sorted(range(len(self.nodes)), key=lambda at: at != self.first)
        answers = [await self._send(at, statement, headers) for at in order]
        return next((answer for answer in answers if answer.status_code != 200), answers[0])

    async def _select_into_all(self, statement: Statement, headers: Mapping[str, str]) -> Response:
        """Replication copies rows: the SELECT runs once."""
        match = _SELECTS.match(statement.sql)
        assert match is not None
        rows = await self._send(
            self.first,
            Statement(
                f"{match[2]} FORMAT TSV",
                statement.data,
                statement.parameters | {"wait_end_of_query": "1"},
                statement.is_form,
            ),
            headers,
        )
        if rows.status_code != 200 or not rows.body:
            return rows
        kept = {k: v for k, v in statement.parameters.items() if k == "database" or k == "insert_deduplication_token"}
        return await self._on_all(Statement(f"{match[1]} FORMAT TSV", bytes(rows.body), kept), headers)

    async def _send(self, at: int, statement: Statement, headers: Mapping[str, str]) -> Response:
        url, given = self.nodes[at], dict(headers)
        if statement.is_form:
            in_address = {k: v for k, v in statement.parameters.items() if not k.startswith("param_")}
            fields = {k: v for k, v in statement.parameters.items() if k.startswith("param_")}
            form = {name: (None, value) for name, value in {**fields, "query": statement.sql}.items()}
            answer = await self._http.post(url, params=in_address, files=form, headers=given)
        elif statement.data:
            in_address = {**statement.parameters, "query": statement.sql}
            answer = await self._http.post(url, params=in_address, content=statement.data, headers=given)
        else:
            answer = await self._http.post(
                url, params=statement.parameters, content=statement.sql.encode(), headers=given
            )
        return _answered(answer)

    async def _pass_on(self, given: Mapping[str, str], body: bytes, headers: Mapping[str, str]) -> Response:
        return _answered(await self._http.post(self.nodes[self.first], params=given, content=body, headers=headers))


def _answered(answer: httpx.Response) -> Response:
    kept = {k: v for k, v in answer.headers.items() if k.startswith("x-clickhouse") or k == "content-type"}
    return Response(answer.content, answer.status_code, kept)


def _fields(body: bytes, boundary: str) -> dict[str, str]:
    """Of a form in parts."""
    fields = {}
    for part in body.split(f"--{boundary}".encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name:
            fields[name[1].decode()] = value.removesuffix(b"\r\n").decode()
    return fields


def _split(body: bytes) -> tuple[str, bytes]:
    """A statement, and the rows of an INSERT behind it."""
    match = re.match(rb"\s*INSERT\s+INTO\s.*?\sFORMAT\s+\w+\s?", body, re.IGNORECASE | re.DOTALL)
    if match is None:
        return body.decode(), b""
    return match.group().decode(), body[match.end() :]


@contextmanager
def started_cluster(
    data_dir: Path, databases: Sequence[str], shards: int = 2, memory_bytes: int = 0
) -> Iterator[tuple[Everywhere, list[ClickHouseProcess]]]:
    """So many engines, a shard each, whose users have the same passwords; and the address at which they are a cluster."""
    with running(new_nodes(data_dir, databases, [1] * shards, memory_bytes)) as cluster:
        yield cluster


@contextmanager
def running(nodes: list[ClickHouseProcess]) -> Iterator[tuple[Everywhere, list[ClickHouseProcess]]]:
    """The engines, and what stands before them."""
    front = Everywhere([node.url for node in nodes])
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            node.child.wait_until(node.answers, 30)
        front.start()
        yield front, nodes
    finally:
        front.stop()
        for node in nodes:
            node.kill()


def new_nodes(
    data_dir: Path,
    databases: Sequence[str],
    replicas: Sequence[int],
    memory_bytes: int = 0,
    keeper_port: int = 0,
    reached_at: Callable[[int], int] = lambda port: port,
) -> list[ClickHouseProcess]:
    """Not started. `replicas`: of each shard. `reached_at`: the port at which the others find a TCP port."""
    passwords_of(data_dir / "node-0")
    nodes = []
    for at in range(sum(replicas)):
        folder = data_dir / f"node-{at}"
        if at:
            folder.mkdir(parents=True, mode=0o700)
            shutil.copy(data_dir / "node-0" / "passwords.json", folder / "passwords.json")
        nodes.append(ClickHouseProcess(folder, databases=databases, memory_bytes=memory_bytes))
    secret, rest = secrets.token_hex(16), iter(nodes)
    by_shard = [[next(rest) for _ in range(count)] for count in replicas]
    ports = [[reached_at(node.config.tcp_port) for node in of_shard] for of_shard in by_shard]
    for shard, of_shard in enumerate(by_shard, start=1):
        for replica, node in enumerate(of_shard, start=1):
            node.join(Place(CLUSTER, ports, shard, replica, secret, keeper_port))
    return nodes


def what_it_ran_on() -> str:
    """For the end of a run: which cluster the tests had, and what of one they had not."""
    if os.environ.get("HEADRACE_TEST_CLICKHOUSE_URL") and (name := os.environ.get("HEADRACE_TEST_CLICKHOUSE_CLUSTER")):
        return f"{name} at HEADRACE_TEST_CLICKHOUSE_URL, and shards on development servers"
    reason = missing_because()
    definitions = f"NOT TRIED: {reason}" if reason else "with Apache ZooKeeper"
    return f"shards on development servers; definitions of replicated tables {definitions}; replication itself on NONE"
