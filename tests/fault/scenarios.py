"""The scenarios: which faults, in which order, on which stack."""

from dataclasses import dataclass

from tests.fault.faults import Fault
from tests.fault.faults.big_bodies import BIG_BODIES
from tests.fault.faults.brokers import KAFKA_AWAY, ONE_OF_THREE
from tests.fault.faults.clocks import CLOCKS
from tests.fault.faults.deletions import DELETIONS
from tests.fault.faults.growth import GROWTH
from tests.fault.faults.keys import KEYS
from tests.fault.faults.kills import KILLS
from tests.fault.faults.log_cut import LOG_CUT, RETENTION
from tests.fault.faults.months import MONTHS
from tests.fault.faults.moves import MOVES, ROLLING
from tests.fault.faults.poison import AFTER_POISON, POISON
from tests.fault.faults.refusals import REFUSALS
from tests.fault.faults.shards import SHARDS
from tests.fault.faults.store import AWAY, STORE, TAIL
from tests.fault.faults.upgrade import UPGRADE


@dataclass(frozen=True)
class Scenario:
    """`faults` in random order, then `last` in this one. `pause_s`: the longest time between two faults.

    `brokers`: how many it needs; `durable`: they must keep their log when they die, so the embedded one will not do.
    `workers`: how many; `shards`: how many engines are one cluster. `times`: at most so many faults, where each takes long; `short`: so many
    in the short form. `beside`: it mostly waits, and runs beside the others. `base`: the commit of the build that it
    begins with.
    """

    name: str
    about: str
    faults: tuple[Fault, ...]
    last: tuple[Fault, ...] = ()
    brokers: int = 1
    durable: bool = False
    pause_s: float = 1.5
    times: int | None = None
    short: int = 3
    beside: bool = False
    base: str | None = None
    shards: int = 1
    workers: int = 3


# 0.1.0: CHANGELOG.md.
FIRST_VERSION = "04794e0"

SCENARIOS = {
    s.name: s
    for s in (
        Scenario(
            "kills", "kill -9 of worker, edge, ClickHouse and query service, also at the worst points", KILLS, short=7
        ),
        Scenario(
            "moves", "partitions move: stalled workers, late inserts, workers that leave and join", MOVES, short=3
        ),
        Scenario("store", "ClickHouse slow, refusing, timing out after it stored, cut off", STORE, short=4),
        Scenario("store-lost-its-tail", "ClickHouse without what it acknowledged last", TAIL, short=1),
        Scenario("store-away", "ClickHouse away for long under load", AWAY, times=1, short=1, beside=True),
        Scenario(
            "kafka-away", "kill -9 of the only broker; Kafka hanging, then back", KAFKA_AWAY, durable=True, short=3
        ),
        Scenario("log-truncated", "a log that has lost its end, and grown again", LOG_CUT, durable=True, short=2),
        Scenario("retention-overtakes", "records deleted before they were read", RETENTION, durable=True, short=1),
        Scenario("partitions-grow", "more partitions on a live topic", GROWTH, durable=True, short=1),
        Scenario("clocks", "clocks that differ by up to an hour, and jump", CLOCKS, short=1),
        Scenario("refused-records", "records that a broker refuses for good", REFUSALS, durable=True, short=2),
        Scenario("deletions", "people and windows deleted, merged and filled again", DELETIONS, short=1),
        Scenario("big-bodies", "what could fill a process: its memory stays bounded", BIG_BODIES, short=1),
        Scenario("keys-and-restarts", "keys made and revoked; edges that start without ClickHouse", KEYS, short=1),
        # Hundreds of months: each deletion and each start of ClickHouse behind it goes through a thousand parts.
        Scenario("months", "batches with dates in many months, torn apart", MONTHS, short=4),
        Scenario("shards", "one of two shards killed, stalled, cut off from the other", SHARDS, short=2, shards=2),
        Scenario("poison", "bad lines of a foreign producer, then a flood", POISON, last=AFTER_POISON, short=3),
        # With as many workers as partitions, on a stack of its own: the group remembers a member with a name when it has gone.
        Scenario(
            "rolling-restart",
            "a deploy: workers that keep their names start again",
            ROLLING,
            times=1,
            short=1,
            workers=8,
        ),
        Scenario(
            "upgrade",
            "0.1.0 is replaced by this build, service by service",
            UPGRADE,
            durable=True,
            times=1,
            short=1,
            base=FIRST_VERSION,
        ),
        Scenario("broker-of-three", "kill -9 of one of three brokers", ONE_OF_THREE, brokers=3, durable=True, short=1),
    )
}
