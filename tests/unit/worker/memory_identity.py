"""The identity tables in memory: answers the questions that IdentityStore asks, as their SQL says."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.contract.events_table import IDENTITY_LOG, PERSON_IDS
from services.runtime.clickhouse import ClickHouse, Parameters, Settings, StoreUnavailableError
from services.runtime.settings import ClickHouseSettings

Row = dict[str, Any]


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
        """Who is who: of each id the row with the highest version, and of equal ones the last, as FINAL gives it."""
        found: dict[str, Row] = {}
        for row in self.person_rows:
            if row["project_id"] == project_id:
                before = found.get(row["distinct_id"])
                if before is None or row["version"] >= before["version"]:
                    found[row["distinct_id"]] = row
        return {distinct_id: row["person_id"] for distinct_id, row in found.items()}

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
            return [(UUID(row["event_id"]),) for row in self._stored(set(asked["projects"]), asked["ids"])]
        members = self._members(asked["project"], asked["events"], asked["ids"])
        return self._edges_of(asked["project"], set(members)) if "in_force" in sql else list(members.items())

    def _stored(self, projects: set[str], ids: Sequence[str]) -> list[Row]:
        wanted = {UUID(text) for text in ids}
        return [row for row in self.log if row["project_id"] in projects and UUID(row["event_id"]) in wanted]

    def _members(self, project_id: str, events: Sequence[str], ids: Sequence[str]) -> dict[str, str]:
        new = [row for row in self._stored({project_id}, events) if row["old_id"]]
        touched = {*ids, *(row[side] for row in new for side in ("old_id", "distinct_id"))}
        people = self.people(project_id)
        persons = {people[one] for one in touched if one in people}
        return dict.fromkeys(touched, "") | {one: person for one, person in people.items() if person in persons}

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
