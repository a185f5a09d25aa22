"""Stores identify, alias, group and unmerge in the identity log, each once, and keeps person_ids in step with it.

Volume is low and exactness matters, so repeats are looked up in ClickHouse, not in memory, and people are computed
anew from the log's edges: whatever was left half done by a crash is finished when the records are read again.
"""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import Struct
from prometheus_client import Counter

from services.contract.dead_letter import DeadLetter, Origin, payload_text
from services.contract.envelope import IdentityLine
from services.contract.events_table import IDENTITY_COLUMNS, IDENTITY_LOG, PERSON_IDS
from services.runtime.clickhouse import ClickHouse
from services.runtime.clock import utc_now
from services.worker.batcher import Record
from services.worker.clickhouse_sink import fresh_token
from services.worker.merges import Edge, Undone, people_of

MESSAGES = Counter(
    "headrace_worker_identity_total", "Identify, alias and group messages by what became of them.", ["result"]
)

_decode = msgspec.json.Decoder(IdentityLine).decode
_PERSON_COLUMNS = ("project_id", "distinct_id", "person_id", "version")
# They travel in the address of the request.
_IDS_AT_ONCE = 100

# The ids of some messages (or some ids), and all ids of their people.
_TOUCHED = f"""
    WITH
        touched AS (
            SELECT DISTINCT arrayJoin([old_id, distinct_id]) AS id FROM {IDENTITY_LOG}
            WHERE project_id = {{project:String}} AND event_id IN {{events:Array(UUID)}} AND old_id != ''
            UNION DISTINCT SELECT arrayJoin({{ids:Array(String)}}) AS id
        ),
        people AS (
            SELECT person_id FROM {PERSON_IDS} FINAL
            WHERE project_id = {{project:String}} AND distinct_id IN (SELECT id FROM touched)
        ),
        members AS (
            SELECT distinct_id AS id, person_id FROM {PERSON_IDS} FINAL
            WHERE project_id = {{project:String}} AND person_id IN (SELECT person_id FROM people)
            UNION ALL SELECT id, '' AS person_id FROM touched
        )
"""
_MEMBERS_SQL = f"{_TOUCHED} SELECT id, person_id FROM members"
# The last row about an edge, in the order of receipt, says whether it is in force.
_EDGES_SQL = f"""
    {_TOUCHED}
    SELECT
        old_id, distinct_id,
        argMax(kind != 'unmerge', (received_at, toUInt128(event_id))) AS in_force,
        if(countIf(kind = 'unmerge') > 0, uniqExact(event_id), 0) AS undone_rows
    FROM {IDENTITY_LOG}
    WHERE project_id = {{project:String}} AND old_id != ''
        AND (old_id IN (SELECT id FROM members) OR distinct_id IN (SELECT id FROM members))
    GROUP BY old_id, distinct_id
"""


class _PersonRow(Struct):
    project_id: str
    distinct_id: str
    person_id: str
    version: int


class IdentityStore:
    """The identity tables. Methods raise StoreError; each may be repeated."""

    def __init__(self, store: ClickHouse) -> None:
        self._store = store

    async def keep(self, records: Sequence[Record]) -> list[DeadLetter]:
        """Store the messages of some records of one partition; those that are no messages come back."""
        lines, bad = _decode_records(records)
        await self.keep_lines(lines)
        return bad

    async def keep_lines(self, lines: Sequence[IdentityLine], *, rewrite: bool = False) -> None:
        """`rewrite`: write the rows of all ids of the sets, so that no slower writer's older rows can win."""
        await self._append_new(lines)
        by_project: defaultdict[str, list[str]] = defaultdict(list)
        for line in lines:
            if line.old_id:
                by_project[line.project_id].append(line.event_id)
        for project_id, event_ids in by_project.items():
            await self._settle(project_id, event_ids, rewrite)

    async def _append_new(self, lines: Sequence[IdentityLine]) -> None:
        """Append what the log does not have. The first message with an id wins, in the log and within `lines`."""
        first: dict[str, IdentityLine] = {}
        for line in lines:
            first.setdefault(line.event_id, line)
        if not first:
            return
        rows = await self._store.rows(
            f"SELECT event_id FROM {IDENTITY_LOG} WHERE project_id IN {{projects:Array(String)}} "
            "AND event_id IN {ids:Array(UUID)}",
            {"projects": sorted({line.project_id for line in lines}), "ids": [str(UUID(i)) for i in first]},
        )
        known = {UUID(str(row[0])) for row in rows}
        fresh = [line for event_id, line in first.items() if UUID(event_id) not in known]
        MESSAGES.labels("repeat").inc(len(lines) - len(fresh))
        if fresh:
            body = msgspec.json.Encoder().encode_lines(fresh)
            await self._store.insert_lines(IDENTITY_LOG, IDENTITY_COLUMNS, body, fresh_token())
            MESSAGES.labels("stored").inc(len(fresh))

    async def _settle(self, project_id: str, event_ids: list[str], rewrite: bool) -> None:
        """Bring person_ids up to date with the log's merges and unmerges that have these ids.

        The ids are asked from the log, not taken from the messages: a repeated key with other ids has no effect.
        """
        edges, known = await self._around(project_id, [str(UUID(i)) for i in event_ids])
        undone = {edge: state for edge, state in edges.items() if state.rows}
        changed = [
            _PersonRow(project_id, member, person, version)
            for member, (person, version) in people_of(edges, undone).items()
            if rewrite or known.get(member) != person
        ]
        if changed:
            body = msgspec.json.Encoder().encode_lines(changed)
            await self._store.insert_lines(PERSON_IDS, _PERSON_COLUMNS, body, fresh_token())

    async def _around(self, project_id: str, event_ids: list[str]) -> tuple[dict[Edge, Undone], dict[str, str]]:
        """All edges of every set that the messages touch, and who its ids are now.

        Sets that an unmerged edge once joined belong to it as well, for the version counts both sides: the ends of
        the edges that were found are followed until there are no others. As a rule the first look finds all.
        """
        edges: dict[Edge, Undone] = {}
        known: dict[str, str] = {}
        seen: set[str] = set()
        ids: list[str] = []
        while event_ids or ids:
            asked = {"project": project_id, "events": event_ids, "ids": ids}
            for distinct_id, person in await self._store.rows(_MEMBERS_SQL, asked):
                seen.add(distinct_id)
                if person:
                    known[distinct_id] = person
            for old_id, new_id, in_force, rows in await self._store.rows(_EDGES_SQL, asked):
                edges[old_id, new_id] = Undone(bool(in_force), rows)
            event_ids, ids = [], sorted({end for edge in edges for end in edge} - seen)[:_IDS_AT_ONCE]
        return edges, known


def _decode_records(records: Sequence[Record]) -> tuple[list[IdentityLine], list[DeadLetter]]:
    lines, bad = [], []
    for record in records:
        for i, text in enumerate((record.value or b"").rstrip(b"\n").split(b"\n")):
            try:
                line = _decode(text)
                UUID(line.event_id)
                lines.append(line)
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
                origin = Origin(
                    service="worker", topic=record.topic, partition=record.partition, offset=record.offset, line=i
                )
                bad.append(
                    DeadLetter(
                        code="unreadable_line",
                        message=str(error),
                        origin=origin,
                        payload=payload_text(text),
                        at=utc_now(),
                    )
                )
    return lines, bad
