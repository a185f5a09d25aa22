"""Stores identify, alias, group and unmerge in the identity log, each once, and keeps person_ids in step with it.

Volume is low and exactness matters, so duplicates and the sets that a merge joins are looked up in ClickHouse, not in memory.
What a block of merges changes is stored whole or not at all: after a crash the records are read again, and find it done
or do it.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct
from prometheus_client import Counter

from services.contract.log.dead_letter import DeadLetter, Origin, payload_text
from services.contract.log.envelope import IdentityLine
from services.contract.tables import IDENTITY_COLUMNS, IDENTITY_LOG, PERSON_IDS
from services.runtime.clickhouse import BadDataError, ClickHouse
from services.runtime.clock import utc_now
from services.worker.identity.person_sets import Edge, Joined, PersonSet, Undone, alone, join, recompute
from services.worker.identity.statements import (
    EDGES_SQL,
    LEAST_ROOTS_SQL,
    MEMBERS_OF_SETS_SQL,
    MEMBERS_SQL,
    PEOPLE_SQL,
    ROWS_OF_ENDS_SQL,
    ROWS_SQL,
    UNMERGED_SQL,
)
from services.worker.record import Record
from services.worker.until_stored import fresh_token

MESSAGES = Counter(
    "headrace_worker_identity_total", "Identify, alias and group messages by what became of them.", ["result"]
)
_decode = msgspec.json.Decoder(IdentityLine).decode
# They travel in the address of the request.
_IDS_AT_ONCE = 100
# Before migration 0007 a version was a number of merges: any version of now is higher.
_VERSIONS_FROM = 2**32
# An insert that is parsed as one block is one part: stored whole or not at all.
_AS_ONE_BLOCK = {"input_format_parallel_parsing": 0, "max_insert_block_size": 2**30}


class _PersonRow(Struct):
    """What a row says of an id: its set, and whether it was merged into another. `name`, `least`, `roots`: of the set,
    where the id is its key."""

    project_id: str
    distinct_id: str
    person_id: str
    version: int
    merged_away: bool
    name: str = ""
    least: str = ""
    roots: int = 0


class _Row(NamedTuple):
    """What person_ids says of an id."""

    person_id: str
    person_hash: int
    merged_away: bool
    version: int
    name: str
    least: str
    roots: int


class IdentityStore:
    """The identity tables. Methods raise StoreError; each may be repeated."""

    def __init__(self, store: ClickHouse) -> None:
        self._store = store

    async def keep(self, records: Sequence[Record]) -> list[DeadLetter]:
        """Store the messages of some records of one partition; those that are no messages, and those that the tables
        refuse, come back."""
        messages, bad = _decode_records(records)
        return bad + await self._keep_each(messages)

    async def _keep_each(self, messages: Sequence["_Message"]) -> list[DeadLetter]:
        """In order. A refused message is found by halving, and costs itself only."""
        try:
            await self.keep_lines([message.line for message in messages])
        except BadDataError as error:
            if len(messages) == 1:
                return [_dead_letter(messages[0].text, str(error)[:500], messages[0].origin)]
            half = len(messages) // 2
            return await self._keep_each(messages[:half]) + await self._keep_each(messages[half:])
        return []

    async def keep_lines(self, lines: Sequence[IdentityLine]) -> None:
        by_project: defaultdict[str, dict[str, Edge]] = defaultdict(dict)
        for event_id, project_id, edge in await self._append_new(lines):
            if edge[0]:
                by_project[project_id][event_id] = edge
        for project_id, edges in by_project.items():
            await self._settle(project_id, edges)

    async def people(self, project_id: str, distinct_ids: Sequence[str]) -> dict[str, str]:
        """The ids of the people of those that were ever merged."""
        rows = await self._store.rows(PEOPLE_SQL, {"project": project_id, "ids": list(distinct_ids)})
        return {row[0]: row[1] for row in rows}

    async def _append_new(self, lines: Sequence[IdentityLine]) -> list[tuple[str, str, Edge]]:
        """Append what the log does not have. The first message with an id wins, in the log and within `lines`.

        What the log says of all of them now: (event id, project, its merge or empty ids).
        """
        first: dict[UUID, IdentityLine] = {}
        for line in lines:
            first.setdefault(UUID(line.event_id), line)
        if not first:
            return []
        rows = await self._store.rows(
            f"SELECT event_id, project_id, old_id, distinct_id FROM {IDENTITY_LOG} "
            "WHERE project_id IN {projects:Array(String)} AND event_id IN {ids:Array(UUID)}",
            {"projects": sorted({line.project_id for line in lines}), "ids": [str(i) for i in first]},
        )
        logged = {UUID(str(row[0])): (row[1], (row[2], row[3])) for row in rows}
        fresh = {event_id: line for event_id, line in first.items() if event_id not in logged}
        MESSAGES.labels("duplicate").inc(len(lines) - len(fresh))
        if fresh:
            body = msgspec.json.Encoder().encode_lines(fresh.values())
            await self._store.insert_lines(IDENTITY_LOG, IDENTITY_COLUMNS, body, fresh_token())
            MESSAGES.labels("stored").inc(len(fresh))
        logged |= {event_id: (line.project_id, (line.old_id, line.distinct_id)) for event_id, line in fresh.items()}
        return [(str(event_id), project_id, edge) for event_id, (project_id, edge) in logged.items()]

    async def _settle(self, project_id: str, edges: dict[str, Edge]) -> None:
        """Bring person_ids up to date with the log's merges and unmerges that have these event ids.

        As a rule from the rows of their sets. Sets that an unmerged edge lies in or between are recomputed from the
        log: whoever unmerges reads the log after writing to it, and so knows every merge that does not know of this.
        Sets without a name (from before migration 0007) are as well.
        """
        asked = {"project": project_id, "events": list(edges)}
        unmerged = [(row[0], row[1]) for row in await self._store.rows(UNMERGED_SQL, asked)]
        rows = await self._rows_around(asked)
        ends = {end for edge in edges.values() for end in edge}
        people = {end: _people(end, rows) for end in ends}
        recompute_keys = {_people(end, rows).key for edge in unmerged for end in edge}
        recompute_keys |= {one.key for one in people.values() if not one.name}
        away = {end for end in ends if end in rows and rows[end].merged_away}
        joined = join(set(edges.values()), people, away)
        doubtful = {one.key for each in joined if recompute_keys & {p.key for p in each.before} for one in each.before}
        changed = await self._joined(asked, rows, people, [j for j in joined if j.key not in doubtful])
        events = [event_id for event_id, edge in edges.items() if people[edge[0]].key in doubtful]
        if events:
            for of_set, members in recompute(*await self._around(project_id, events)):
                changed += [_person_row(project_id, member, of_set, away) for member, away in members.items()]
        if changed:
            body = msgspec.json.Encoder().encode_lines(changed)
            await self._store.insert_lines(PERSON_IDS, _PersonRow.__struct_fields__, body, fresh_token(), _AS_ONE_BLOCK)

    async def _rows_around(self, asked: dict[str, Any]) -> dict[str, _Row]:
        """The rows of the ends, and of the keys of their sets."""
        rows = {row[0]: _Row(*row[1:]) for row in await self._store.rows(ROWS_OF_ENDS_SQL, asked)}
        keys = sorted({row.person_id for row in rows.values()} - set(rows))
        for at in range(0, len(keys), _IDS_AT_ONCE):
            some = {"project": asked["project"], "ids": keys[at : at + _IDS_AT_ONCE]}
            rows |= {row[0]: _Row(*row[1:]) for row in await self._store.rows(ROWS_SQL, some)}
        return rows

    async def _joined(
        self, asked: dict[str, Any], rows: dict[str, _Row], people: dict[str, PersonSet], joined: list[Joined]
    ) -> list[_PersonRow]:
        """The rows that change: all ids of the sets that lose their key; of the others the ends at most, and the key."""
        unnamed = [rows[key] for each in joined for key in each.unnamed]
        found: dict[str, str] = {row[0]: row[1] for row in await self._of_sets(LEAST_ROOTS_SQL, asked, unnamed)}
        losing = [one for each in joined for one in each.before if one.key != each.key and one.version]
        members: defaultdict[str, dict[str, bool]] = defaultdict(dict)
        for distinct_id, key, away in await self._of_sets(MEMBERS_OF_SETS_SQL, asked, [rows[p.key] for p in losing]):
            members[key][distinct_id] = bool(away)
        for end, of_set in people.items():
            members[of_set.key][end] = end in rows and rows[end].merged_away
        changed = []
        for each in joined:
            if each.key in rows and len(each.before) == 1 and not each.merged_away:
                continue
            of_set = each.people(found)
            for distinct_id, away in {k: v for one in each.before for k, v in members[one.key].items()}.items():
                away |= distinct_id in each.merged_away
                row = rows.get(distinct_id)
                if distinct_id != each.key and (row is None or (row.person_id, row.merged_away) != (each.key, away)):
                    changed.append(_person_row(asked["project"], distinct_id, of_set, away))
            away = each.key in each.merged_away or (each.key in rows and rows[each.key].merged_away)
            changed.append(_person_row(asked["project"], each.key, of_set, away))
        return changed

    async def _of_sets(self, sql: str, asked: dict[str, Any], keys: list[_Row]) -> list[Sequence[Any]]:
        """`keys`: the rows of the sets' keys."""
        return await self._store.rows(sql, {**asked, "sets": [row.person_hash for row in keys]}) if keys else []

    async def _around(self, project_id: str, event_ids: list[str]) -> tuple[list[Edge], dict[Edge, Undone]]:
        """All edges of every set that the messages touch, and those of them that were ever unmerged.

        Sets that an unmerged edge once joined belong to it as well, for the version counts both sides: the ends of
        the edges that were found are followed until there are no others. As a rule the first look finds all.
        """
        edges: dict[Edge, Undone] = {}
        seen: set[str] = set()
        ids: list[str] = []
        while event_ids or ids:
            asked = {"project": project_id, "events": event_ids, "ids": ids}
            seen |= {row[0] for row in await self._store.rows(MEMBERS_SQL, asked)}
            for old_id, new_id, in_force, rows in await self._store.rows(EDGES_SQL, asked):
                edges[old_id, new_id] = Undone(bool(in_force), rows)
            event_ids, ids = [], sorted({end for edge in edges for end in edge} - seen)[:_IDS_AT_ONCE]
        return list(edges), {edge: state for edge, state in edges.items() if state.rows}


def _people(distinct_id: str, rows: dict[str, _Row]) -> PersonSet:
    """The set of an id; without a name where its rows do not say all."""
    row = rows.get(distinct_id)
    if row is None:
        return alone(distinct_id)
    key = rows.get(row.person_id)
    if key is None or key.person_id != row.person_id:
        return PersonSet(row.person_id, "", "", 0, 0)
    return PersonSet(row.person_id, key.name, key.least, key.roots, key.version - _VERSIONS_FROM)


def _person_row(project_id: str, distinct_id: str, people: PersonSet, merged_away: bool) -> _PersonRow:
    row = _PersonRow(project_id, distinct_id, people.key, _VERSIONS_FROM + people.version, merged_away)
    if distinct_id == people.key:
        row.name, row.least, row.roots = people.name, people.least, people.roots
    return row


class _Message(NamedTuple):
    """A line of the log, as it was read and as it stood there."""

    line: IdentityLine
    text: bytes
    origin: Origin


def _decode_records(records: Sequence[Record]) -> tuple[list[_Message], list[DeadLetter]]:
    messages, bad = [], []
    for record in records:
        for i, text in enumerate((record.value or b"").rstrip(b"\n").split(b"\n")):
            origin = Origin(
                service="worker", topic=record.topic, partition=record.partition, offset=record.offset, line=i
            )
            try:
                line = _decode(text)
                UUID(line.event_id)
                messages.append(_Message(line, text, origin))
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
                bad.append(_dead_letter(text, str(error), origin))
    return messages, bad


def _dead_letter(text: bytes, reason: str, origin: Origin) -> DeadLetter:
    return DeadLetter(code="unreadable_line", message=reason, origin=origin, payload=payload_text(text), at=utc_now())
