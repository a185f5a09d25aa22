"""The identity tables in memory: answers the queries that IdentityStore asks, as their SQL says."""

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from xxhash import xxh3_64_intdigest

from services.contract.tables import IDENTITY_LOG, PERSON_IDS
from services.runtime.clickhouse import BadDataError, ClickHouse, Parameters, Settings, StoreUnavailableError
from services.worker.identity import statements as sql_of
from tests.fakes.settings import CLICKHOUSE

Row = dict[str, Any]
# A message about this id looks right and is refused by the table all the same.
REFUSED_ID = "refused by the table"
Moment = tuple[int, int, int]
_EPOCH_MS = 1_800_000_000_000


def _hash(text: str) -> int:
    return xxh3_64_intdigest(text.encode())


class MemoryIdentityTables(ClickHouse):
    """`fail_insert` raises once, at the so-manyth insert from now: before it is stored, or (`after`) after it."""

    def __init__(self) -> None:
        super().__init__(CLICKHOUSE)
        self.log: list[Row] = []
        self.person_rows: list[Row] = []
        self._tokens: set[str] = set()
        self._failing: tuple[int, bool] | None = None
        self._now_ms = _EPOCH_MS

    def fail_insert(self, which: int, *, after: bool) -> None:
        self._failing = (which, after)

    def people(self, project_id: str) -> dict[str, str]:
        """Who is who: a set's canonical id is in the row of its set id."""
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
        if sql == sql_of.NOW_SQL:
            self._now_ms += 1
            return [(self._now_ms,)]
        if sql == sql_of.LOGGED_SQL:
            stored = [row for row in self.log if row["project_id"] in asked["projects"] and _among(row, asked["ids"])]
            return [
                (
                    UUID(row["event_id"]),
                    *(row[name] for name in ("project_id", "kind", "old_id", "distinct_id")),
                    round(datetime.fromisoformat(row["received_at"]).timestamp() * 1e6),
                )
                for row in stored
            ]
        return _Project(
            [row for row in self.log if row["project_id"] == asked["project"]], self._latest(asked["project"]), asked
        ).answer(sql)


class _Project:
    """One project's rows, and what is asked about them."""

    def __init__(self, log: list[Row], people: dict[str, Row], asked: dict[str, Any]) -> None:
        self._log = log
        self._people = people
        self._asked = asked
        self._unmerges = [row for row in log if row["kind"] == "unmerge"]

    def answer(self, sql: str) -> list[Sequence[Any]]:
        match sql:
            case sql_of.ROWS_SQL:
                return self._rows_of(set(self._asked["ids"]))
            case sql_of.UNMERGED_OR_DELETED_SQL:
                return [(row["old_id"], row["distinct_id"], "") for row in self._unmerges]
            case sql_of.ROWS_OF_ENDS_SQL:
                asked = [row for row in self._log if row["old_id"] and _among(row, self._asked["events"])]
                return self._rows_of(_sides(asked + self._unmerges))
            case sql_of.MEMBERS_OF_SETS_SQL:
                columns = ("distinct_id", "person_id", "merged_away", "version")
                return [tuple(row[column] for column in columns) for row in self._of_sets()]
            case sql_of.LEAST_ROOTS_SQL:
                return self._least_roots()
            case sql_of.LINKS_OF_PRIORS_SQL:
                return self._links_of_priors()
            case sql_of.LINKS_OF_USERS_SQL:
                priors = {row["old_id"] for row in self._asked_links()}
                of_users = [row for row in self._links() if row["distinct_id"] in priors]
                return [
                    (user, min(_moment(row) for row in of_users if row["distinct_id"] == user))
                    for user in {row["distinct_id"] for row in of_users}
                ]
            case sql_of.FIRST_LINKS_SQL:
                found = [row for row in self._links() if row["old_id"] in self._around()]
                first = {row["old_id"]: row for row in sorted(found, key=_moment, reverse=True)}
                return [((_moment(row), row["old_id"], row["distinct_id"]),) for row in first.values()]
            case sql_of.MERGES_SQL:
                return self._merges()
        raise AssertionError(sql)

    def _rows_of(self, wanted: set[str]) -> list[Sequence[Any]]:
        columns = ("merged_away", "version", "name", "least", "roots")
        rows = self._people
        return [
            (one, rows[one]["person_id"], _hash(rows[one]["person_id"]), *(rows[one][c] for c in columns))
            for one in wanted & set(rows)
        ]

    def _of_sets(self) -> list[Row]:
        return [row for row in self._people.values() if _hash(row["person_id"]) in self._asked["sets"]]

    def _least_roots(self) -> list[Sequence[Any]]:
        asked = (row for row in self._log if _among(row, self._asked["events"]))
        gone = {row["old_id"] for row in asked if row["old_id"] != row["distinct_id"]}
        left = [row for row in self._of_sets() if not row["merged_away"] and row["distinct_id"] not in gone]
        set_ids = {row["person_id"] for row in left}
        return [(one, min(row["distinct_id"] for row in left if row["person_id"] == one)) for one in set_ids]

    def _links(self) -> list[Row]:
        """Those that no unmerge, received later, has undone."""
        return [row for row in self._log if row["kind"] == "link" and not _is_undone(row, self._unmerges)]

    def _asked_links(self) -> list[Row]:
        return [row for row in self._log if row["kind"] == "link" and _among(row, self._asked["events"])]

    def _links_of_priors(self) -> list[Sequence[Any]]:
        sides, answer = _sides(self._asked_links()), list[Sequence[Any]]()
        for prior in sides:
            of_prior = sorted((row for row in self._links() if row["old_id"] == prior), key=_moment)
            if not of_prior:
                continue
            mine = [row for row in of_prior if _among(row, self._asked["events"])]
            others = [(_moment(row), row["distinct_id"]) for row in of_prior if row not in mine]
            first = _moment(of_prior[0]), of_prior[0]["distinct_id"]
            before = others[0] if others else ((0, 0, 0), "")
            answer.append((prior, first, before, [row["distinct_id"] for row in mine]))
        return answer

    def _around(self) -> set[str]:
        return {*self._asked["ids"], *(row["distinct_id"] for row in self._of_sets())}

    def _merges(self) -> list[Sequence[Any]]:
        around, by_edge = self._around(), dict[tuple[str, str], list[Row]]()
        for row in self._log:
            edge = (row["old_id"], row["distinct_id"])
            if row["old_id"] and row["kind"] != "link" and around & set(edge):
                by_edge.setdefault(edge, []).append(row)
        return [edge for edge, rows in by_edge.items() if max(rows, key=_by_receipt)["kind"] != "unmerge"]


def _among(row: Row, ids: Collection[str]) -> bool:
    return UUID(row["event_id"]) in {UUID(str(one)) for one in ids}


def _sides(rows: Iterable[Row]) -> set[str]:
    return {row[side] for row in rows for side in ("old_id", "distinct_id")}


def _by_receipt(row: Row) -> tuple[str, int]:
    return row["received_at"], UUID(row["event_id"]).int


def _moment(row: Row) -> Moment:
    at, received = (datetime.fromisoformat(row[name]) for name in ("timestamp", "received_at"))
    return int(at.timestamp() * 1e6), int(received.timestamp() * 1e6), UUID(row["event_id"]).int


def _is_undone(link: Row, unmerges: list[Row]) -> bool:
    return any(
        (row["old_id"], row["distinct_id"]) == (link["old_id"], link["distinct_id"])
        and _by_receipt(row) > _by_receipt(link)
        for row in unmerges
    )
