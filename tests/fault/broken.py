"""Deliberately broken builds, which the suite must catch: `python -m tests.fault.broken <build> <command>` runs a
service's command with one part of the guarantee taken out of it. Nothing in `services` knows of this."""

import sys
from collections.abc import Callable, Mapping
from typing import Any


def commit_first() -> None:
    """The worker acknowledges a block before it is stored, so that its offsets may be committed before."""
    from services.worker.events.block_buffer import BlockBuffer
    from services.worker.record import Record

    run_well = BlockBuffer.run

    async def run(self: BlockBuffer) -> None:
        store = self._store

        async def acknowledge_then_store(block: list[Record]) -> None:
            for record in block:
                record.acknowledge()
            await store(block)

        self._store = acknowledge_then_store
        await run_well(self)

    BlockBuffer.run = run  # type: ignore[method-assign]


def no_rebuild() -> None:
    """The worker believes that nothing is stored of the partitions that it is given."""
    from services.worker.dedupe.memory import MemoryDedupe

    async def load(self: MemoryDedupe, oldest_s: Mapping[int, float]) -> None:
        self._loaded |= oldest_s

    MemoryDedupe.load = load  # type: ignore[method-assign]


def no_final() -> None:
    """The query service reads rows as they lie in the parts."""
    from services.query.sql import events as source

    source.EVENTS_ONCE = source.EVENTS_WITH_DUPLICATES
    source.ROW_ID = "reinterpretAsUInt128(generateUUIDv4())"


def automatic_reset() -> None:
    """The worker reads from what was committed, whatever has become of the log, and lets aiokafka reset positions."""
    from services.worker.consumer import faust_app
    from services.worker.consumer.chunk_thread import ChunkThread

    settings = faust_app.faust_settings

    def reset_to_earliest(*arguments: Any) -> dict[str, Any]:
        return {**settings(*arguments), "consumer_auto_offset_reset": "earliest"}

    faust_app.faust_settings = reset_to_earliest  # type: ignore[assignment]
    del ChunkThread.seek_to_committed, ChunkThread._fetch_records


def follow_topic() -> None:
    """The worker takes the number of partitions from the topic."""
    from services.contract.log.topics import Partitioning
    from services.runtime import partitioning
    from services.runtime.clickhouse import ClickHouse

    async def agreed(store: ClickHouse, topic: str, count: int, *, write: bool = False) -> Partitioning:
        return Partitioning(count)

    partitioning.agreed_partitioning = agreed


def never_again() -> None:
    """The worker believes that ClickHouse still has what it acknowledged."""
    from services.worker.consumer.store_restarts import StoreRestarts

    async def run(self: StoreRestarts) -> None: ...

    StoreRestarts.run = run  # type: ignore[method-assign]


def merges_by_chance() -> None:
    """The worker takes a deletion for that of the one id that was named: of merges counts what was applied by chance."""
    from collections.abc import Sequence

    from services.contract.log.marks import DeletionLine
    from services.runtime.clickhouse import ClickHouse
    from services.worker.identity import deletions

    async def ids_of(
        store: ClickHouse, project_id: str, lines: Sequence[DeletionLine]
    ) -> tuple[dict[str, set[str]], set[str]]:
        return {line.deletion_id: {line.distinct_id} for line in lines}, set()

    deletions._ids_of_people = ids_of


def keys_not_taken() -> None:
    """The query service keeps nothing of a deleted person's events."""
    from services.query.persons.rewriting import Rewriting

    async def note_taken(self: Rewriting, table: str, where: str) -> None: ...

    Rewriting._note_taken = note_taken  # type: ignore[method-assign]


def ids_kept() -> None:
    """The worker goes on with the ids that it has, whatever was deleted."""
    from services.worker.dedupe.memory import MemoryDedupe

    def changed(self: MemoryDedupe, partition: int) -> None: ...

    MemoryDedupe.changed = changed  # type: ignore[method-assign]


def exact_clocks() -> None:
    """The worker believes that all clocks are right. Its window is half an hour, so that an hour matters at once."""
    from services.worker.dedupe import memory
    from services.worker.events import restore

    for module in (memory, restore):
        vars(module)["CLOCK_SKEW_S"] = 0.0
    begin = memory.MemoryDedupe.__init__

    def shorter(self: memory.MemoryDedupe, store: Any, window_s: int, *others: Any) -> None:
        begin(self, store, window_s // 2, *others)

    memory.MemoryDedupe.__init__ = shorter  # type: ignore[method-assign, assignment]


def same_producer() -> None:
    """The edge goes on with the producer whose record was refused."""
    from services.edge.event_log.producer import LiveProducer

    def failed(self: LiveProducer, *_: Any) -> None: ...

    LiveProducer.failed = failed  # type: ignore[method-assign, assignment]


def own_offsets() -> None:
    """The edge tells of a loss only by offsets that it is given again itself."""
    from services.edge.event_log.lost_end import LostEnd

    acknowledged = LostEnd.acknowledged

    def without_time(self: LostEnd, offset: int, before: tuple[int, int], at_ms: int | None) -> None:
        acknowledged(self, offset, before, None)

    LostEnd.acknowledged = without_time  # type: ignore[method-assign]


def no_names() -> None:
    """Workers join the group as strangers each time they start."""
    from services.worker.consumer import faust_app

    settings = faust_app.faust_settings

    def without_name(*arguments: Any) -> dict[str, Any]:
        return {**settings(*arguments), "consumer_group_instance_id": None}

    faust_app.faust_settings = without_name  # type: ignore[assignment]


def chunks_unbounded() -> None:
    """The worker takes as much of a partition as a fetch has become, decompressed."""
    from services.worker.consumer import transport

    transport.CHUNK_BYTES = 2**62


def one_never_committed() -> None:
    """The worker stores a partition's records, and never commits them."""
    from services.worker.consumer.transport import ChunkConsumer

    acknowledge = ChunkConsumer.ack

    def ack(self: ChunkConsumer, message: Any) -> bool:
        if message.partition != 1:
            return acknowledge(self, message)
        message.acked = True
        self._unacked_messages.discard(message)
        return False

    ChunkConsumer.ack = ack  # type: ignore[method-assign]


def no_known_keys() -> None:
    """Edges keep no keys anywhere."""
    from services.runtime.keys import Key
    from services.runtime.known import KnownTopic

    async def read(self: KnownTopic) -> dict[str, Key]:
        return {}

    KnownTopic.read = read  # type: ignore[method-assign]


BUILDS: dict[str, Callable[[], None]] = {
    "commit-first": commit_first,
    "no-rebuild": no_rebuild,
    "no-final": no_final,
    "automatic-reset": automatic_reset,
    "follow-topic": follow_topic,
    "never-again": never_again,
    "merges-by-chance": merges_by_chance,
    "keys-not-taken": keys_not_taken,
    "ids-kept": ids_kept,
    "exact-clocks": exact_clocks,
    "same-producer": same_producer,
    "own-offsets": own_offsets,
    "no-names": no_names,
    "chunks-unbounded": chunks_unbounded,
    "one-never-committed": one_never_committed,
    "no-known-keys": no_known_keys,
}

# What they break is the edge's.
EDGE_BUILDS = frozenset({"no-known-keys", "own-offsets", "same-producer"})


if __name__ == "__main__":
    build = sys.argv.pop(1)
    BUILDS[build]()
    from services.cli.app import main

    main()
