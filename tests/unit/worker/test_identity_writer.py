"""Identify, alias and group in the worker: each once in the log, and people in step with it whatever fails between."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from services.contract.log.envelope import IdentityLine, pack
from services.contract.log.event_ids import fresh_ids, id_of_key
from services.edge.intake.identity import take_identify
from services.runtime.clickhouse import StoreUnavailableError
from services.worker.identity.writer import IdentityStore
from services.worker.record import Record
from tests.fakes.identity_tables import REFUSED_ID, MemoryIdentityTables

AT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


def message(kind: str = "identify", distinct_id: str = "b", **fields: Any) -> tuple[bytes, IdentityLine]:
    project_id = fields.pop("project_id", "shop")
    key = fields.pop("key", "")
    event_id = id_of_key(project_id, key) if key else fresh_ids(1)[0]
    line = IdentityLine(
        project_id=project_id,
        event_id=event_id.hex(),
        kind=kind,
        distinct_id=distinct_id,
        timestamp=AT,
        received_at=AT,
        idempotency_key=key,
        **fields,
    )
    return event_id, line


def merge(old_id: str, new_id: str, **fields: Any) -> tuple[bytes, IdentityLine]:
    return message("alias", new_id, old_id=old_id, **fields)


def record(*messages: tuple[bytes, IdentityLine], offset: int = 0) -> Record:
    packed = pack([event_id for event_id, _ in messages], [line for _, line in messages])
    return Record("headrace.identity", 3, offset, packed.lines, packed.ids, lambda: None)


def logged(tables: MemoryIdentityTables) -> list[tuple[str, str, str]]:
    return [(row["kind"], row["old_id"], row["distinct_id"]) for row in tables.log]


@pytest.fixture
def tables() -> MemoryIdentityTables:
    return MemoryIdentityTables()


async def test_every_kind_is_logged_and_only_merges_make_people(tables: MemoryIdentityTables) -> None:
    bad = await IdentityStore(tables).keep(
        [
            record(message(user_id="u"), message("group", group_type="company", group_key="acme")),
            record(message(old_id="a"), merge("c", "d")),
        ]
    )
    assert bad == []
    assert logged(tables) == [("identify", "", "b"), ("group", "", "b"), ("identify", "a", "b"), ("alias", "c", "d")]
    assert tables.people("shop") == {"a": "b", "b": "b", "c": "d", "d": "d"}


async def test_a_repeat_is_logged_once_in_one_block_and_in_several(tables: MemoryIdentityTables) -> None:
    store = IdentityStore(tables)
    once = merge("a", "b", key="k")
    await store.keep([record(once, once), record(once)])
    await store.keep([record(once)])
    assert logged(tables) == [("alias", "a", "b")]
    assert len(tables.person_rows) == 2


async def test_a_repeated_key_with_other_ids_has_no_effect(tables: MemoryIdentityTables) -> None:
    store = IdentityStore(tables)
    await store.keep([record(merge("a", "b", key="k"), merge("x", "y", key="k"))])
    await store.keep([record(merge("p", "q", key="k"))])
    assert logged(tables) == [("alias", "a", "b")]
    assert tables.people("shop") == {"a": "b", "b": "b"}


def identify(at: datetime, **body: str) -> list[tuple[bytes, IdentityLine]]:
    """As the edge makes it of a body with the key `k`: a line, and one more where it links and merges."""
    intake = take_identify(msgspec.json.encode({"idempotency_key": "k", **body}), "shop", at, None)
    return list(zip(intake.ids, intake.lines, strict=True))


@pytest.mark.parametrize("first", [{}, {"user_id": "u"}, {"alias_for": "x"}, {"user_id": "u", "alias_for": "x"}])
@pytest.mark.parametrize("blocks", [1, 2])
async def test_a_merge_beside_a_link_is_of_the_first_message_or_of_none(
    tables: MemoryIdentityTables, first: dict[str, str], blocks: int
) -> None:
    sent = [
        identify(AT, distinct_id="d", **first),
        identify(AT + timedelta(seconds=1), distinct_id="d", user_id="w", alias_for="stranger"),
        identify(AT + timedelta(seconds=2), distinct_id="d", **first),  # a retry of the first
    ]
    records = [record(*lines) for lines in sent]
    store = IdentityStore(tables)
    for block in [records] if blocks == 1 else [records[:1], records[1:]]:
        await store.keep(block)
    assert logged(tables) == [(line.kind, line.old_id, line.distinct_id) for _, line in sent[0]]
    assert "stranger" not in tables.people("shop")


async def test_a_merge_comes_after_its_message_where_the_table_refuses_what_lies_between(
    tables: MemoryIdentityTables,
) -> None:
    both = identify(AT, distinct_id="d", user_id="u", alias_for="x")
    assert len(both) == 2
    refused = message(distinct_id=REFUSED_ID)
    bad = await IdentityStore(tables).keep([record(both[0], refused, both[1])])
    assert len(bad) == 1
    assert logged(tables) == [("link", "d", "u"), ("alias", "x", "d")]


async def test_projects_do_not_meet(tables: MemoryIdentityTables) -> None:
    await IdentityStore(tables).keep(
        [
            record(
                merge("a", "b", key="k"),
                merge("b", "c", project_id="blog", key="k"),
                merge("a", "z", project_id="blog"),
            )
        ]
    )
    assert tables.people("shop") == {"a": "b", "b": "b"}
    assert tables.people("blog") == {"b": "c", "c": "c", "a": "z", "z": "z"}


@pytest.mark.parametrize(
    "edges",
    [
        [("a", "b"), ("b", "c"), ("c", "d"), ("x", "y"), ("y", "d")],
        [("c", "d"), ("a", "b"), ("y", "d"), ("b", "c"), ("x", "y")],
        [("y", "d"), ("x", "y"), ("c", "d"), ("b", "c"), ("a", "b")],
    ],
    ids=["forwards", "mixed", "backwards"],
)
@pytest.mark.parametrize("together", [1, 2, 5])
async def test_sets_grow_together_in_any_order_and_grouping(
    tables: MemoryIdentityTables, edges: list[tuple[str, str]], together: int
) -> None:
    store = IdentityStore(tables)
    for at in range(0, len(edges), together):
        await store.keep([record(*[merge(*edge) for edge in edges[at : at + together]])])
    assert tables.people("shop") == dict.fromkeys("abcdxy", "d")


async def test_a_cycle_changes_nothing_more(tables: MemoryIdentityTables) -> None:
    store = IdentityStore(tables)
    for edge in [("a", "b"), ("b", "c"), ("c", "a")]:
        await store.keep([record(merge(*edge))])
    people = tables.people("shop")
    assert set(people.values()) == {people["a"]}
    rows = len(tables.person_rows)
    await store.keep([record(merge("a", "c"))])
    assert len(tables.person_rows) == rows


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_whatever_a_failure_left_half_done_is_finished_when_the_records_are_read_again(
    tables: MemoryIdentityTables, which: int, after: bool
) -> None:
    store = IdentityStore(tables)
    await store.keep([record(merge("a", "b"))])
    block = [record(merge("b", "c"), merge("x", "y"), message(user_id="u"))]
    tables.fail_insert(which, after=after)
    with pytest.raises(StoreUnavailableError):
        await store.keep(block)
    await IdentityStore(tables).keep(block)
    assert logged(tables) == [("alias", "a", "b"), ("alias", "b", "c"), ("alias", "x", "y"), ("identify", "", "b")]
    assert tables.people("shop") == {"a": "c", "b": "c", "c": "c", "x": "y", "y": "y"}


def foreign(value: bytes | None) -> Record:
    return Record("headrace.identity", 3, 7, value, None, lambda: None)


GOOD = pack([bytes(16)], [merge("a", "b")[1]]).lines


@pytest.mark.parametrize(
    ("value", "places"),
    [
        (None, [0]),
        (b"", [0]),
        (b"{\n", [0]),
        (b"null\n" + GOOD, [0]),
        (GOOD + b"\xff\n" + b"[" * 100_000 + b"\n\n\n", [1, 2]),
        (b'{"kind": "alias"}', [0]),
        (GOOD.replace(b'"event_id":"', b'"event_id":"z'), [0]),
    ],
    ids=["no value", "empty", "cut off", "null", "no JSON", "fields missing", "no id"],
)
async def test_what_is_no_message_comes_back_with_its_place(
    tables: MemoryIdentityTables, value: bytes | None, places: Sequence[int]
) -> None:
    bad = await IdentityStore(tables).keep([foreign(value), record(merge("p", "q"))])
    assert [(b.origin.topic, b.origin.partition, b.origin.offset, b.origin.line) for b in bad] == [
        ("headrace.identity", 3, 7, place) for place in places
    ]
    assert {letter.code for letter in bad} == {"unreadable_line"}
    assert ("alias", "p", "q") in logged(tables)


async def test_a_foreign_line_may_write_its_id_with_dashes(tables: MemoryIdentityTables) -> None:
    event_id, line = merge("a", "b")
    line.event_id = str(UUID(bytes=event_id))
    dashed = foreign(pack([event_id], [line]).lines)
    for _ in range(2):
        assert await IdentityStore(tables).keep([dashed]) == []
    assert logged(tables) == [("alias", "a", "b")]
    assert tables.people("shop") == {"a": "b", "b": "b"}


@pytest.mark.parametrize("at", [0, 3, 6])
async def test_a_message_that_the_table_refuses_costs_itself_only(tables: MemoryIdentityTables, at: int) -> None:
    messages = [merge(f"a{n}", f"b{n}") for n in range(7)]
    messages[at] = merge("x", REFUSED_ID)
    bad = await IdentityStore(tables).keep([record(*messages[:4]), record(*messages[4:], offset=1)])
    assert [(letter.origin.offset, letter.origin.line) for letter in bad] == [(0, at) if at < 4 else (1, at - 4)]
    assert REFUSED_ID in bad[0].payload
    assert logged(tables) == [("alias", f"a{n}", f"b{n}") for n in range(7) if n != at]
    assert tables.people("shop")["a5" if at != 5 else "a4"] == ("b5" if at != 5 else "b4")


@pytest.mark.parametrize("cluster", ["", "shop"])
async def test_on_a_cluster_what_others_have_said_is_waited_for(cluster: str) -> None:
    store = MemoryIdentityTables()
    said: list[str] = []

    async def command(sql: str, *_: object, **__: object) -> None:
        said.append(sql)

    store.cluster, store.command = cluster, command  # type: ignore[method-assign]
    await IdentityStore(store).keep([])
    tables = ("identity_log", "person_ids", "deletions", "deleted_ids", "taken_ids") if cluster else ()
    assert said == [f"SYSTEM SYNC REPLICA {store.database}.{table} LIGHTWEIGHT" for table in tables]
