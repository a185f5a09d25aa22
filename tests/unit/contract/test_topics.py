"""Names of topics, and which partition an id goes to."""

from collections import Counter

import pytest

from services.contract.log.event_ids import fresh_ids, id_of_key
from services.contract.log.topics import PARTITION_SQL, Topics, partition_of


def test_topics_carry_the_prefix() -> None:
    topics = Topics("blue")
    assert (topics.events, topics.identity, topics.dead_letters) == (
        "blue.events",
        "blue.identity",
        "blue.dead-letters",
    )
    assert Topics().events == "headrace.events"


@pytest.mark.parametrize(
    ("first_bytes", "partitions", "partition"),
    [
        (b"\x00\x00", 8, 0),
        (b"\x00\x07", 8, 7),
        (b"\x01\x00", 8, 0),
        (b"\x01\x00", 7, 256 % 7),
        (b"\xff\xff", 1000, 65_535 % 1000),
        (b"\xff\xff", 1, 0),
    ],
)
def test_the_partition_is_the_first_two_bytes_modulo_the_partitions(
    first_bytes: bytes, partitions: int, partition: int
) -> None:
    assert partition_of(first_bytes + b"\xaa" * 14, partitions) == partition


def test_the_formula_in_sql_takes_the_same_bits() -> None:
    assert PARTITION_SQL == "bitShiftRight(toUInt128(event_id), 112) % {partitions:UInt16}"
    for event_id in fresh_ids(100):
        assert partition_of(event_id, 13) == (int.from_bytes(event_id, "big") >> 112) % 13


def test_ids_spread_over_the_partitions_and_one_user_makes_no_hot_one() -> None:
    ids = [id_of_key("shop", f"key {n}") for n in range(8000)] + fresh_ids(8000)
    counts = Counter(partition_of(event_id, 8) for event_id in ids)
    assert set(counts) == set(range(8))
    assert max(counts.values()) < 1.2 * min(counts.values())
