"""The identity tables in memory: answers the queries that IdentityStore asks, as their SQL says."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from xxhash import xxh3_64_intdigest

from services.contract.tables import IDENTITY_LOG, PERSON_IDS
from services.runtime.clickhouse import BadDataError, ClickHouse, Parameters, Settings, StoreUnavailableError
from services.runtime.settings import ClickHouseSettings
from services.worker.identity.statements import (
    EDGES_SQL,
    LEAST_ROOTS_SQL,
    MEMBERS_OF_SETS_SQL,
    ROWS_OF_ENDS_SQL,
    ROWS_SQL,
    UNMERGED_SQL,
)

Row = dict[str, Any]
# A message about this id looks right and is refused by the table all the same.
REFUSED_ID = "refused by the table"


def _hash(person_id: str) -> int:
    return xxh3_64_intdigest(person_id.encode())


class MemoryIdentityTables(ClickHouse):
    """`fail_insert` raises once, at the so-manyth insert from now: before it is stored, or (`after`) after it."""

    def __init__(self) -> None:
        super().__init__(ClickHouseSettings())
        self.log: list[Row] = []
        self.person_rows: list[Row] = []
        self._tokens: set[str] = set()
        self._failing: tuple[int, bool] | None = None

    def fail_insert(self, which: int, *, after: bool) -> None:
        self._failing = (which, after)

    def people(self, project_id: str) -> dict[str, str]:
        """Who is who: a set's name is in the row of its key."""
        rows = self._latest(project_id)
        return {distinct_id: rows[row["person_id"]]["name"] for distinct_id, row in rows.items()}

    def _latest(self, project_id: str) -> dict[str, Row]:
        """Of each id the row with the highest version, and of equal ones the last, as FINAL gives it."""
        found: dict[str, Row] = {}
        for row in self.person_rows:
            if row["project_id"] == project_id:
                before = found.get(row["distinct_id"])
                if before is None or row["version"] >= before["version"]:
                    found[row["distinct_id"]] = row
        return found

    async def insert_lines(
        self,
        table: str,
        columns: Sequence[str],
        lines: bytes | Sequence[bytes],
        token: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        failing, after = self._count_down()
        if failing and not after:
            raise StoreUnavailableError("refused")
        rows = [json.loads(line) for line in (lines if isinstance(lines, bytes) else b"".join(lines)).splitlines()]
        assert {name for row in rows for name in row} == set(columns)
        if any(row.get("distinct_id") == REFUSED_ID for row in rows):
            raise BadDataError("cannot parse the row", 27)
        if token is None or f"{table} {token}" not in self._tokens:
            self._tokens.add(f"{table} {token}")
            {IDENTITY_LOG: self.log, PERSON_IDS: self.person_rows}[table].extend(rows)
        if failing:
            raise StoreUnavailableError("no answer")

    def _count_down(self) -> tuple[bool, bool]:
        if self._failing is None:
            return False, False
        which, after = self._failing
        self._failing = None if which == 1 else (which - 1, after)
        return which == 1, after

    async def rows(
        self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None
    ) -> list[Sequence[Any]]:
        asked = dict(parameters or {})
        if "projects" in asked:
            stored = self._stored(set(asked["projects"]), asked["ids"])
            return [(UUID(row["event_id"]), row["project_id"], row["old_id"], row["distinct_id"]) for row in stored]
        project_id, events = asked["project"], asked.get("events", [])
        if sql == ROWS_SQL:
            return self._rows_of(project_id, set(asked["ids"]))
        unmerged = [row for row in self.log if row["project_id"] == project_id and row["kind"] == "unmerge"]
        if sql == UNMERGED_SQL:
            return [(row["old_id"], row["distinct_id"]) for row in unmerged]
        if sql == ROWS_OF_ENDS_SQL:
            ends = self._merges(project_id, events) + unmerged
            return self._rows_of(project_id, {row[side] for row in ends for side in ("old_id", "distinct_id")})
        if sql in (LEAST_ROOTS_SQL, MEMBERS_OF_SETS_SQL):
            members = [row for row in self._latest(project_id).values() if _hash(row["person_id"]) in asked["sets"]]
            if sql == MEMBERS_OF_SETS_SQL:
                return [(row["distinct_id"], row["person_id"], row["merged_away"]) for row in members]
            gone = {row["old_id"] for row in self._merges(project_id, events) if row["old_id"] != row["distinct_id"]}
            left = [row for row in members if not row["merged_away"] and row["distinct_id"] not in gone]
            keys = {row["person_id"] for row in left}
            return [(key, min(row["distinct_id"] for row in left if row["person_id"] == key)) for key in keys]
        around = self._members(project_id, events, asked["ids"])
        return self._edges_of(project_id, around) if sql == EDGES_SQL else [(one,) for one in around]

    def _merges(self, project_id: str, events: Sequence[str]) -> list[Row]:
        return [row for row in self._stored({project_id}, events) if row["old_id"]]

    def _rows_of(self, project_id: str, wanted: set[str]) -> list[Sequence[Any]]:
        rows = self._latest(project_id)
        columns = ("merged_away", "version", "name", "least", "roots")
        return [
            (one, rows[one]["person_id"], _hash(rows[one]["person_id"]), *(rows[one][c] for c in columns))
            for one in wanted & set(rows)
        ]

    def _stored(self, projects: set[str], ids: Sequence[str]) -> list[Row]:
        wanted = {UUID(text) for text in ids}
        return [row for row in self.log if row["project_id"] in projects and UUID(row["event_id"]) in wanted]

    def _members(self, project_id: str, events: Sequence[str], ids: Sequence[str]) -> set[str]:
        merges = self._merges(project_id, events)
        touched = {*ids, *(row[side] for row in merges for side in ("old_id", "distinct_id"))}
        rows = self._latest(project_id)
        persons = {rows[one]["person_id"] for one in touched if one in rows}
        return touched | {one for one, row in rows.items() if row["person_id"] in persons}

    def _edges_of(self, project_id: str, members: set[str]) -> list[Sequence[Any]]:
        """(old id, new id, in force, rows where it was ever unmerged)."""
        by_edge: dict[tuple[str, str], list[Row]] = {}
        for row in self.log:
            edge = (row["old_id"], row["distinct_id"])
            if row["project_id"] == project_id and row["old_id"] and members & set(edge):
                by_edge.setdefault(edge, []).append(row)
        answer: list[Sequence[Any]] = []
        for edge, rows in by_edge.items():
            last = max(rows, key=lambda row: (row["received_at"], UUID(row["event_id"]).int))
            ever = any(row["kind"] == "unmerge" for row in rows)
            answer.append((*edge, last["kind"] != "unmerge", len({row["event_id"] for row in rows}) if ever else 0))
        return answer
