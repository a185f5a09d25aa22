"""Kafka itself loses what it had acknowledged: a log without its end, and records that were deleted before they were
read. What is still there is stored once; what is not, and was not stored before, an alarm names by its offsets."""

import asyncio
from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from services.contract.log.event_ids import id_of_key
from services.runtime.kafka import topics_of
from tests.fault.alarms import Alarms, Named
from tests.fault.faults import Fault
from tests.fault.log_file import Batch, LogFile
from tests.fault.processes import until
from tests.fault.scene import Scene
from tests.fault.stack import PARTITIONS

_PARTITIONS_CUT = 4
# Few records, all of which another edge may fill in again, or many.
_LONGEST_CUTS = (3, 60)
_COMMITTED_S = 2.5
_BACK_S = 180.0

Removed = Mapping[int, list[Batch]]


async def cut_while_workers_are_away(scene: Scene) -> None:
    """They come back to a log that was cut behind or before what they have committed, and that has grown again."""
    stack, alarms = scene.stack, _alarms(scene)
    await asyncio.gather(*[worker.kill() for worker in stack.workers])
    await asyncio.sleep(scene.rng.uniform(0.5, 2))
    removed = await _lose_the_end(scene)
    await asyncio.sleep(scene.rng.uniform(0.5, 4))
    await asyncio.gather(*[worker.start() for worker in stack.workers])
    await _excuse(scene, removed, alarms)


async def cut_under_workers(scene: Scene) -> None:
    """They have read all of it, and go on reading what is appended in its place."""
    alarms = _alarms(scene)
    await scene.stack.wait_all_assigned()
    removed = await _lose_the_end(scene)
    await _excuse(scene, removed, alarms)


async def _lose_the_end(scene: Scene) -> Removed:
    """The last records of some partitions, none of which is on its way."""
    stack, rng = scene.stack, scene.rng
    topic = topics_of(stack.kafka_settings()).events
    removed: dict[int, list[Batch]] = {}
    async with scene.load.held():
        await asyncio.sleep(rng.choice([0, _COMMITTED_S]))
        await asyncio.to_thread(stack.brokers[0].kill)
        for partition in rng.sample(range(PARTITIONS), _PARTITIONS_CUT):
            log = LogFile(stack.data_dir / "kafka" / "node-1", topic, partition)
            batches = log.batches()
            kept = max(1, len(batches) - rng.randint(1, rng.choice(_LONGEST_CUTS)))
            if removed_here := batches[kept:]:
                log.cut(removed_here[0])
                removed[partition] = removed_here
        await stack.start_broker(0)
    await until(lambda: scene.load.waiting == 0, "what was refused is accepted", _BACK_S)
    return removed


async def retention_overtakes(scene: Scene) -> None:
    """Workers are away, and the oldest of what they have not read is deleted."""
    stack, rng, alarms = scene.stack, scene.rng, _alarms(scene)
    await asyncio.gather(*[worker.kill() for worker in stack.workers])
    await asyncio.sleep(rng.uniform(1, 3))
    topic = topics_of(stack.kafka_settings()).events
    removed: dict[int, list[Batch]] = {}
    async with scene.load.held():
        for partition in rng.sample(range(PARTITIONS), _PARTITIONS_CUT):
            batches = LogFile(stack.data_dir / "kafka" / "node-1", topic, partition).batches()
            # All but the newest, or a part of what was not read.
            kept = rng.randint(1, min(20, len(batches) - 1))
            removed[partition] = batches[: len(batches) - kept]
        ends = {TopicPartition(topic, p): b[-1].last + 1 for p, b in removed.items()}
        admin = AIOKafkaAdminClient(bootstrap_servers=stack.brokers[0].bootstrap)
        await admin.start()
        try:
            await admin.delete_records({tp: RecordsToDelete(before_offset=end) for tp, end in ends.items()})
        finally:
            await admin.close()
    await asyncio.gather(*[worker.start() for worker in stack.workers])
    await _excuse(scene, removed, alarms)


def _alarms(scene: Scene) -> Alarms:
    return Alarms([service.log for service in [*scene.stack.edges, *scene.stack.workers]])


async def _excuse(scene: Scene, removed: Removed, alarms: Alarms) -> None:
    """Waits until each event that is gone is stored or named. Exactly these need not be stored; nothing else may be
    named. A worker may name what a fault before has removed: the edge, which names it too, may have been faster."""
    topic = topics_of(scene.stack.kafka_settings()).events
    numbers = {id_of_key(scene.stack.project, f"key-{n}"): n for n in range(len(scene.ledger))}
    gone = {numbers[i] for batches in removed.values() for batch in batches for i in batch.ids if i in numbers}
    # The file has still what was deleted, and named, by a fault before.
    gone = scene.ledger.not_excused(gone)
    named: set[int] = set()
    losses: list[Named] = []

    async def accounted() -> bool:
        losses[:] = [loss for loss in alarms.losses() if loss.topic == topic]
        for loss in losses:
            batches = [b for b in removed.get(loss.partition, []) if loss.begin <= b.offset and b.last < loss.end]
            named.update(numbers[i] for batch in batches for i in batch.ids if i in numbers)
        stored, _ = await scene.stack.stored(scene.stack.project)
        return not (gone - named) - set(stored.tolist())

    await until(accounted, "what Kafka has lost is stored or named", _BACK_S)
    scene.removed += [(partition, b[0].offset, b[-1].last + 1) for partition, b in removed.items() if b]
    for loss in losses:
        gone_here = [(begin, end) for partition, begin, end in scene.removed if partition == loss.partition]
        scene.check(
            any(begin <= loss.begin and loss.end <= end for begin, end in gone_here),
            f"{loss} was named, and {gone_here} is gone",
        )
    scene.ledger.excuse(sorted(named))
    scene.notes.append(f"{len(gone):,} events gone, {len(named):,} of them named as lost in {len(losses)} alarms")


LOG_CUT = (
    Fault("log loses its end, workers away", cut_while_workers_are_away),
    Fault("log loses its end under the workers", cut_under_workers),
)
RETENTION = (Fault("retention overtakes a backlog", retention_overtakes),)
