"""People by a part of an id or of a trait, as somebody types it."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from services.contract.api.people import ListedPerson
from services.contract.api.persons import PersonSearch
from services.contract.tables import IDENTITY_LOG
from services.query.execution.executor import QueryExecutor
from services.query.persons.listed import listed_people
from services.query.persons.seen import Seen
from services.query.request.time_window import DAY_US, LATEST_US, TimeWindow, parse_zone
from services.query.sql.events import EVENTS_WITH_DUPLICATES, IN_WINDOW, NOT_DELETED, window_parameters
from services.query.sql.persons import PERSON, join_persons

# Of ids without an identify call those are looked through that did something in so many days.
SEARCHED_DAYS = 90
# So many are looked at: a text may stand in a trait of before, or in its name.
_MAX_CANDIDATES = 1000
# What ClickHouse escapes, and others do not.
_WRITTEN = {ord(char): f"\\u{ord(char):04x}" for char in "\u2028\u2029"}


def _has(text: str, part: str = "{search:String}") -> str:
    return f"positionCaseInsensitiveUTF8({text}, {part}) > 0"


def _says_it(column: str) -> str:
    """Of JSON, what is looked for is in the form that JSON has for it. A text with escapes is read as well, and so written in
    the form that ClickHouse has: there are several, of the same character. That takes zeros from numbers."""
    said = f"arrayExists(said -> {_has('said.2', '{search_written:String}')}, JSONExtractKeysAndValuesRaw({column}))"
    return f"({_has(column, '{search_json:String}')} OR (position({column}, '\\\\') > 0 AND {said}))"


# 0: an id begins with it, 1: has it, 2: what was said of the person has it.
_RANK = f"multiIf(startsWith(lowerUTF8(e.distinct_id), lowerUTF8({{search:String}})), 0, {_has('e.distinct_id')}, 1, 2)"
# What a call said to be another id of its person, where no row of the log may be about it. It is whose it is now, whether the
# call counts or not.
_PRIOR_IDS = (
    "SELECT project_id, old_id AS distinct_id, old_hash AS distinct_hash, timestamp, received_at "
    f"FROM {IDENTITY_LOG} WHERE project_id = {{project:String}} AND old_id != ''"
)
SEARCH_SQL = (
    "SELECT who, min(rank) AS best FROM ("
    f"SELECT {PERSON} AS who, {_RANK} AS rank FROM {IDENTITY_LOG} AS e {join_persons(False)} "
    f"WHERE e.project_id = {{project:String}} AND {NOT_DELETED} AND e.distinct_id != '' AND "
    f"({_has('e.distinct_id')} OR (e.kind != 'group' AND ({_says_it('e.traits')} OR {_says_it('e.set_once')}))) UNION ALL "
    f"SELECT {PERSON} AS who, {_RANK} AS rank FROM ({_PRIOR_IDS}) AS e {join_persons(False)} "
    f"WHERE {NOT_DELETED} AND {_has('e.distinct_id')} UNION ALL "
    f"SELECT {PERSON} AS who, {_RANK} AS rank FROM {EVENTS_WITH_DUPLICATES} {join_persons(False)} "
    f"WHERE {IN_WINDOW} AND {_has('e.distinct_id')}"
    f") GROUP BY who ORDER BY best, who LIMIT {_MAX_CANDIDATES:d}"
)


async def search_people(store: QueryExecutor, project_id: str, search: str, limit: int, now_us: int) -> PersonSearch:
    window = TimeWindow(now_us - SEARCHED_DAYS * DAY_US, LATEST_US, parse_zone(None))
    as_json = json.dumps(search, ensure_ascii=False)[1:-1]
    looked_for = {"search": search, "search_json": as_json, "search_written": as_json.translate(_WRITTEN)}
    rows = await store.rows(SEARCH_SQL, {**window_parameters(project_id, window), **looked_for})
    found: list[ListedPerson] = []
    # Some at a time: most of the first ones are right.
    for at in range(0, len(rows), limit + 1):
        some = rows[at : at + limit + 1]
        listed = await listed_people(store, project_id, [who for who, _ in some], Seen(window))
        by_id = {who for who, rank in some if rank < 2}
        found += [one.person for one in listed if one.who in by_id or _says(one.person, search)]
        if len(found) > limit:
            break
    return PersonSearch(people=found[:limit], more=len(found) > limit)


def _says(person: ListedPerson, search: str) -> bool:
    wanted = search.lower()
    # Numbers as they were sent, and as answers show them.
    values = (json.loads(bytes(value), parse_int=str, parse_float=str) for value in person.traits.values())
    said = (text for value in values for text in _texts(value))
    return wanted in person.person_id.lower() or any(wanted in text.lower() for text in said)


def _texts(value: Any) -> Iterator[str]:
    """A string as it is, a number as its text; whatever is in a list or an object."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        yield from _texts(list(value.values()))
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)
    else:
        yield msgspec.json.encode(value).decode()
