"""Names of topics, and which partition an id goes to."""

from collections import Counter

import pytest

from services.contract.log.event_ids import fresh_ids, id_of_key
from services.contract.log.topics import NO_BUCKETS, PARTITION_SQL, Partitioning, Topics
from services.worker.dedupe.ids import ids_from_bytes, partitions_of


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
        (b"\xff\xff", 1000, 1023 % 1000),
        (b"\xff\xff", 1, 0),
    ],
)
def test_the_first_two_bytes_say_the_bucket_and_the_bucket_the_partition(
    first_bytes: bytes, partitions: int, partition: int
) -> None:
    assert Partitioning(partitions).partition_of(first_bytes + b"\xaa" * 14) == partition


def test_the_formula_in_sql_takes_the_same_bits() -> None:
    assert PARTITION_SQL == "bitShiftRight(toUInt128(event_id), 112) % {buckets:UInt32} % {partitions:UInt16}"
    for spread in (Partitioning(13), Partitioning(13, NO_BUCKETS), Partitioning(8)):
        ids = fresh_ids(100)
        found = [(int.from_bytes(i, "big") >> 112) % spread.buckets % spread.partitions for i in ids]
        assert [spread.partition_of(i) for i in ids] == spread.partitions_of(ids) == found
        assert partitions_of(ids_from_bytes(b"".join(ids)), spread).tolist() == found


@pytest.mark.parametrize("partitions", [1, 2, 8, 64, 1024])
def test_where_the_partitions_divide_the_buckets_there_is_one_formula(partitions: int) -> None:
    ids = fresh_ids(1000)
    assert Partitioning(partitions).partitions_of(ids) == Partitioning(partitions, NO_BUCKETS).partitions_of(ids)


def test_ids_spread_over_the_partitions_and_one_user_makes_no_hot_one() -> None:
    ids = [id_of_key("shop", f"key {n}") for n in range(8000)] + fresh_ids(8000)
    counts = Counter(Partitioning(8).partitions_of(ids))
    assert set(counts) == set(range(8))
    assert max(counts.values()) < 1.2 * min(counts.values())
