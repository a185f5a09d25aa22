"""ClickHouse under test: one engine alone, or a cluster whose engines reach each other, and themselves, by wires."""

import asyncio
from pathlib import Path

from services.devstack.clickhouse_server import ClickHouseProcess
from tests.fault.wire import State, Wire
from tests.support.cluster import CLUSTER, Everywhere, new_nodes


class Engines:
    """`nodes[i]` is a shard, to which `wires[i]` leads. `settings`: what services need to find it."""

    def __init__(self, data_dir: Path, shards: int) -> None:
        self.wires: list[Wire] = []
        if shards == 1:
            self.nodes = [ClickHouseProcess(data_dir / "clickhouse", log=data_dir / "clickhouse.log")]
            self.front = None
            self.settings: dict[str, str] = {}
        else:
            self.nodes = new_nodes(data_dir, ("headrace",), [1] * shards, reached_at=self._by_wire)
            self.front = Everywhere([node.url for node in self.nodes])
            self.settings = {"HEADRACE_CLICKHOUSE_URL": self.front.url, "HEADRACE_CLICKHOUSE_CLUSTER": CLUSTER}

    def _by_wire(self, port: int) -> int:
        self.wires.append(Wire(port))
        return self.wires[-1].port

    @property
    def url(self) -> str:
        return self.front.url if self.front else self.nodes[0].url

    @property
    def port(self) -> int:
        return self.front.port if self.front else self.nodes[0].port

    @property
    def cluster(self) -> str:
        return CLUSTER if self.front else ""

    async def start(self) -> None:
        for node in self.nodes:
            await asyncio.to_thread(node.start)
        for wire in self.wires:
            await wire.set(State.WHOLE)
        if self.front is not None:
            self.front.start()

    async def stop(self) -> None:
        for node in self.nodes:
            await asyncio.to_thread(node.kill)
        for wire in self.wires:
            await wire.stop()
        if self.front is not None:
            self.front.stop()
