"""A foreign producer writes into the log what the edge never would: single bad lines, and a flood of them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiokafka import AIOKafkaProducer

from services.contract.log.dead_letter import Origin
from services.contract.log.envelope import IDS_HEADER
from services.contract.log.event_ids import id_of_key
from services.contract.log.topics import Partitioning
from services.operations.dead_letters import StoredLetter, read_letters
from services.runtime.clock import utc_now
from tests.fault.faults import Fault
from tests.fault.processes import run_headrace, until
from tests.fault.scene import Scene
from tests.fault.stack import PARTITIONS

_TOPIC = "fault.events"
# Without ids every line is looked at; under ids, as the edge writes them, only what ClickHouse cannot read.
_INCOMPLETE_LINES = (b'{"project_id":"fault"}', b"{}", b"null", b'{"a":' * 3000 + b"1" + b"}" * 3000)
_BAD_LINES = (
    b"{not json",
    b"\xff\xfe\x00 no text",
    b"[]",
    b'{"project_id":"fault","event_id":"12","event":"e","distinct_id":"d","timestamp":"2026-01-01T00:00:00Z",'
    b'"received_at":"2026-01-01T00:00:00Z","properties":{}}',
    b'{"project_id":"fault","event_id":"00000000000000000000000000000000","event":"e","distinct_id":"d",'
    b'"timestamp":"yesterday","received_at":"2026-01-01T00:00:00Z","properties":{}}',
)
_FLOOD_LINES = 4000
_STOP_S = 90.0


@asynccontextmanager
async def _producer(scene: Scene) -> AsyncIterator[AIOKafkaProducer]:
    settings = scene.stack.kafka_settings()
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap.split(","), acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def poison_lines(scene: Scene) -> None:
    """One bad line between two good ones: without ids, with ids, and a record that is nothing at all."""
    async with _producer(scene) as producer:
        await _send_between(scene, producer, scene.rng.choice([*_BAD_LINES, *_INCOMPLETE_LINES]), with_ids=False)
        await _send_between(scene, producer, scene.rng.choice(_BAD_LINES), with_ids=True)
        nothing = await producer.send_and_wait(
            _TOPIC, scene.rng.choice([b"", None, b"\x00" * 40]), b"foreign", partition=0
        )
        scene.poison.append((Origin(service="worker", topic=_TOPIC, partition=0, offset=nothing.offset, line=0), None))


async def _send_between(scene: Scene, producer: AIOKafkaProducer, bad: bytes, with_ids: bool) -> None:
    partition = scene.rng.randrange(PARTITIONS)
    before, bad_id, after = (_number_in(scene, partition) for _ in range(3))
    lines = [_line(scene, before), bad, _line(scene, after)]
    ids = [id_of_key(scene.stack.project, f"key-{n}") for n in (before, bad_id, after)]
    headers = [(IDS_HEADER, b"".join(ids))] if with_ids else []
    sent = await producer.send_and_wait(_TOPIC, b"\n".join(lines) + b"\n", partition=partition, headers=headers)
    scene.ledger.accept([before, after])
    origin = Origin(service="worker", topic=_TOPIC, partition=partition, offset=sent.offset, line=1)
    scene.poison.append((origin, bad_id))


def _number_in(scene: Scene, partition: int) -> int:
    """A new event whose id belongs to this partition."""
    while True:
        number = scene.ledger.new(1)[0]
        if Partitioning(PARTITIONS).partition_of(id_of_key(scene.stack.project, f"key-{number}")) == partition:
            return number


def _line(scene: Scene, number: int) -> bytes:
    """A good line. It was received now: one that says it came before the window would not be known in it."""
    return msgspec.json.encode(
        {
            "project_id": scene.stack.project,
            "event_id": id_of_key(scene.stack.project, f"key-{number}").hex(),
            "event": "foreign",
            "distinct_id": f"person-{number % 1000}",
            "timestamp": "2026-01-01T00:00:00Z",
            "received_at": utc_now(),
            "properties": {"n": number, "v": 0},
            "idempotency_key": f"key-{number}",
            "original_timestamp": "",
        }
    )


async def dead_letters_say_where(scene: Scene) -> None:
    """Each bad line is a dead letter that names its place; `list`, repair and `replay` (twice) store it once."""
    wanted = {_place(origin): number for origin, number in scene.poison}

    async def all_there() -> bool:
        places = {_place(letter.letter.origin) async for letter in read_letters(scene.stack.kafka_settings())}
        return wanted.keys() <= places

    await until(all_there, f"dead letters of {len(wanted)} bad lines", 180)
    listed = await run_headrace(scene.stack.settings, "dead-letters", "list", "--json")
    letters = [msgspec.json.decode(line, type=StoredLetter) for line in listed.splitlines()]
    scene.dead_letters += len(wanted)
    repaired, numbers = [], []
    for stored in letters:
        scene.check(bool(stored.letter.message), f"a dead letter without a reason: {stored.letter.origin}")
        number = wanted.get(_place(stored.letter.origin))
        if number is not None:
            # Whose it is says the letter, and some bad lines name a project that is not this one.
            stored.letter.project_id = scene.stack.project
            stored.letter.payload = _line(scene, number).decode()
            repaired.append(stored)
            numbers.append(number)
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(msgspec.json.Encoder().encode_lines(repaired))
        file.flush()
        for _ in range(2):
            await run_headrace(_as_admin(scene), "dead-letters", "replay", file.name)
    # Only now: the load repeats keys that it believes accepted, and the first of a key wins.
    scene.ledger.accept(numbers)
    scene.notes.append(f"{len(letters)} dead letters, {len(repaired)} repaired and replayed twice")


def _place(origin: Origin) -> tuple[int | None, int | None, int | None]:
    return (origin.partition, origin.offset, origin.line)


async def flood(scene: Scene) -> None:
    """So much is bad that the workers stop, with an alarm and with nothing skipped, until somebody lets it pass."""
    stack = scene.stack
    before = await _count_letters(scene)
    for worker in stack.workers:
        worker.wanted = False
    async with _producer(scene) as producer:
        acks = [await producer.send(_TOPIC, b"{flood", partition=i % PARTITIONS) for i in range(_FLOOD_LINES)]
        await asyncio.gather(*acks)
    await until(lambda: not any(w.running for w in stack.workers), "all workers stop in the flood", _STOP_S)
    let_through = await _count_letters(scene) - before
    allowed = _FLOOD_LINES // 10
    scene.check(let_through < allowed, f"{let_through} lines of the flood became dead letters before the stop")
    for worker in stack.workers:
        alarmed = "worker_stops" in worker.log.read_text() and "could not be read" in worker.log.read_text()
        scene.check(alarmed, f"{worker.name} stopped without saying why: {worker.log_tail(5)}")
        scene.check(worker.exit_status != 0, f"{worker.name} stopped in the flood with status 0")
        worker.overrides["HEADRACE_WORKER_DEAD_LETTER_MAX_RATIO"] = "1"
        await worker.start()

    async def all_passed() -> bool:
        return await _count_letters(scene) - before >= _FLOOD_LINES

    await until(all_passed, "the flood in the dead letters", 120)
    scene.dead_letters += _FLOOD_LINES
    scene.notes.append(f"flood of {_FLOOD_LINES} bad lines: workers stopped after {let_through} dead letters")


async def _count_letters(scene: Scene) -> int:
    places = {_place(letter.letter.origin) async for letter in read_letters(scene.stack.kafka_settings())}
    return len(places)


POISON = (Fault("poison lines", poison_lines),)
AFTER_POISON = (
    Fault("dead letters listed, repaired, replayed", dead_letters_say_where),
    Fault("flood of poison", flood),
)


def _as_admin(scene: Scene) -> dict[str, str]:
    """Replay asks ClickHouse what was deleted."""
    admin = scene.stack.admin_settings()
    return {
        **scene.stack.settings,
        "HEADRACE_CLICKHOUSE_URL": admin.clickhouse_url,
        "HEADRACE_CLICKHOUSE_USER": admin.clickhouse_user,
        "HEADRACE_CLICKHOUSE_PASSWORD": admin.clickhouse_password,
    }
