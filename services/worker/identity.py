"""Stores identify, alias and group in the identity log, each once, and keeps person_ids in step with its merges.

Volume is low and exactness matters, so repeats are looked up in ClickHouse, not in memory, and people are computed
anew from the log's edges: whatever was left half done by a crash is finished when the records are read again.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from prometheus_client import Counter
from xxhash import xxh3_128_hexdigest

from services.contract.dead_letter import DeadLetter, Origin, payload_text
from services.contract.envelope import IdentityLine
from services.contract.events_table import IDENTITY_COLUMNS, IDENTITY_LOG, PERSON_IDS
from services.runtime.clickhouse import ClickHouse
from services.runtime.clock import utc_now
from services.worker.batcher import Record
from services.worker.merges import Edge, people_of

MESSAGES = Counter(
    "headrace_worker_identity_total", "Identify, alias and group messages by what became of them.", ["result"]
)

_decode = msgspec.json.Decoder(IdentityLine).decode
_PERSON_COLUMNS = ("project_id", "distinct_id", "person_id", "version")


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
        await self._append_new(lines)
        by_project: defaultdict[str, list[str]] = defaultdict(list)
        for line in lines:
            if line.old_id:
                by_project[line.project_id].append(line.event_id)
        for project_id, event_ids in by_project.items():
            await self._merge(project_id, event_ids)
        return bad

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
            await self._store.insert_lines(IDENTITY_LOG, IDENTITY_COLUMNS, body, xxh3_128_hexdigest(body))
            MESSAGES.labels("stored").inc(len(fresh))

    async def _merge(self, project_id: str, event_ids: list[str]) -> None:
        """Bring person_ids up to date with the log's merges that have these ids.

        The ids are asked from the log, not taken from the messages: a repeated key with other ids has no effect.
        """
        edges = await self._edges_around(project_id, [str(UUID(i)) for i in event_ids])
        known = await self._people_now(project_id, edges)
        changed = [
            _PersonRow(project_id, member, person, version)
            for member, (person, version) in people_of(edges).items()
            if known.get(member) != person
        ]
        if changed:
            body = msgspec.json.Encoder().encode_lines(changed)
            await self._store.insert_lines(PERSON_IDS, _PERSON_COLUMNS, body, xxh3_128_hexdigest(body))

    async def _edges_around(self, project_id: str, event_ids: list[str]) -> list[Edge]:
        """All edges of every set that the new edges touch."""
        rows = await self._store.rows(
            f"""
            WITH
                new_edges AS (
                    SELECT old_id, distinct_id FROM {IDENTITY_LOG}
                    WHERE project_id = {{project:String}} AND event_id IN {{ids:Array(UUID)}} AND old_id != ''
                ),
                touched AS (SELECT old_id AS id FROM new_edges UNION DISTINCT SELECT distinct_id AS id FROM new_edges),
                people AS (
                    SELECT person_id FROM {PERSON_IDS} FINAL
                    WHERE project_id = {{project:String}} AND distinct_id IN (SELECT id FROM touched)
                ),
                members AS (
                    SELECT distinct_id AS id FROM {PERSON_IDS} FINAL
                    WHERE project_id = {{project:String}} AND person_id IN (SELECT person_id FROM people)
                )
            SELECT old_id, distinct_id FROM {IDENTITY_LOG}
            WHERE project_id = {{project:String}} AND old_id != ''
                AND (old_id IN (SELECT id FROM members) OR event_id IN {{ids:Array(UUID)}})
            """,
            {"project": project_id, "ids": event_ids},
        )
        return [(row[0], row[1]) for row in rows]

    async def _people_now(self, project_id: str, edges: Sequence[Edge]) -> dict[str, str]:
        ids = sorted({i for edge in edges for i in edge})
        rows: list[Sequence[Any]] = []
        for at in range(0, len(ids), 1000):
            rows += await self._store.rows(
                f"SELECT distinct_id, person_id FROM {PERSON_IDS} FINAL "
                "WHERE project_id = {project:String} AND distinct_id IN {ids:Array(String)}",
                {"project": project_id, "ids": ids[at : at + 1000]},
            )
        return {row[0]: row[1] for row in rows}


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
