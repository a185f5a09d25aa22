"""The order of a run: each query in each case, then the comparable systems, then the bars.

Fails when a comparable that must come to the service's answer comes to another one.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from msgspec import Struct

from services.schema.roles import Role
from tests.bench.query.asking import Asker, Statement, query_service
from tests.bench.query.data import FRESH, MERGED, Data, Say
from tests.bench.query.history import MERGED_PERCENT
from tests.bench.query.parquet import run_duckdb, write_parquet
from tests.bench.query.proposals import PARAMETERS
from tests.bench.query.queries import BY_GROUP, BY_PROPERTY, MeasuredQuery, bar_ms
from tests.bench.query.results import MIB, Bar, Results, Row
from tests.bench.query.sql_client import Cost

SERVICE, PROPOSAL = "service", "proposal (SQL)"
MERGED_CASE, NO_MERGES, MANY_MERGES = "merged", "no merges", "1 million merges"
MANY_IDS = 1_000_000
MAX_MEMORY_BYTES = 2 * 1024**3
MAX_MERGE_RATIO = 1.5
# A breakdown by groups, which are those of each event's time, against one by a property.
MAX_GROUP_RATIO = 2.0


class Plan(Struct, frozen=True):
    """`runs` are warm, after one that is not counted. `threads` of the engine and of DuckDB for one query."""

    queries: tuple[MeasuredQuery, ...]
    runs: int
    threads: int
    with_duckdb: bool


class Measuring:
    """Fills `results` from one data directory."""

    def __init__(self, data: Data, plan: Plan, results: Results, say: Say) -> None:
        self._data = data
        self._plan = plan
        self._results = results
        self._say = say
        # The service's, of merged parts, by query.
        self._answers: dict[str, Any] = {}

    def run(self) -> None:
        self._case(MERGED, MERGED_CASE, cold=True)
        for case, ids, percent in ((NO_MERGES, 0, 0), (MANY_MERGES, MANY_IDS, 100)):
            with self._merges(ids, percent):
                self._case(MERGED, case)
        self._case(FRESH, "fresh")
        self._comparable()
        if self._plan.with_duckdb:
            self._duckdb()
        order = {query.name: i for i, query in enumerate(self._plan.queries)}
        self._results.rows.sort(key=lambda row: order[row.query])
        self._hold_bars()

    @contextmanager
    def _merges(self, ids: int, percent: int) -> Iterator[None]:
        self._data.merge_ids(MERGED, ids, percent)
        try:
            yield
        finally:
            self._data.merge_ids(MERGED, self._data.history.ids, MERGED_PERCENT)

    def _case(self, database: str, case: str, cold: bool = False) -> None:
        with query_service(self._data.settings(database), self._data.settings(database, Role.ADMIN)) as asker:
            for query in self._plan.queries:
                self._say(f"{query.name}: {case}")
                if asker.answers(query.path):
                    self._ask(asker, query, database, case, cold)
                if query.proposal is not None:
                    self._add(query.name, case, PROPOSAL, query.proposal(), database, cold)

    def _ask(self, asker: Asker, query: MeasuredQuery, database: str, case: str, cold: bool) -> None:
        def ask() -> float:
            return asker.ask(query.path, query.body)

        ask()  # connects; not cold for the connection's sake
        row = self._time(query.name, case, SERVICE, ask, cold)
        if case == MERGED_CASE:
            self._answers[query.name] = asker.answer
        costs = [self._cost(statement, database) for statement in asker.statements]
        row.rows, row.bytes = sum(c.rows for c in costs), sum(c.bytes for c in costs)
        row.peak_memory_bytes = max(c.peak_memory_bytes for c in costs)

    def _add(self, name: str, case: str, how: str, sql: str, database: str, cold: bool = False) -> None:
        settings = {"max_threads": self._plan.threads, "do_not_merge_across_partitions_select_final": 1}

        def ask() -> float:
            started = time.perf_counter()
            self._data.client.run(sql, PARAMETERS, database, **settings)
            return (time.perf_counter() - started) * 1000

        row = self._time(name, case, how, ask, cold)
        cost = self._data.client.cost(sql, PARAMETERS, database, **settings)
        row.rows, row.bytes, row.peak_memory_bytes = cost.rows, cost.bytes, cost.peak_memory_bytes

    def _time(self, name: str, case: str, how: str, ask: Callable[[], float], cold: bool) -> Row:
        cold_ms = None
        if cold:
            self._data.evict()
            cold_ms = ask()
        ask()
        used_s = self._cpu_s()
        warm_ms = [ask() for _ in range(self._plan.runs)]
        cpu_ms = (self._cpu_s() - used_s) * 1000 / len(warm_ms)
        row = Row(query=name, case=case, how=how, warm_ms=warm_ms, cpu_ms=cpu_ms, cold_ms=cold_ms)
        self._results.rows.append(row)
        return row

    def _cpu_s(self) -> float:
        """Of the engine and of this process, so far."""
        engine = psutil.Process(self._data.server.pid).cpu_times()
        return float(engine.user + engine.system) + time.process_time()

    def _cost(self, statement: Statement, database: str) -> Cost:
        settings = {name: _setting(value) for name, value in statement.settings.items()}
        return self._data.client.cost(statement.sql, statement.parameters, database, **settings)

    def _comparable(self) -> None:
        for query in self._plan.queries:
            if query.sql is None:
                continue
            self._say(f"{query.name}: {query.method}")
            if query.same is not None and query.name in self._answers:
                query.same(self._answers[query.name], self._data.client.rows(query.sql()))
            self._add(query.name, MERGED_CASE, f"comparable: {query.method}", query.sql(), MERGED)
            for name, sql in query.besides.items():
                self._add(query.name, MERGED_CASE, f"besides: {name}", sql(), MERGED)

    def _duckdb(self) -> None:
        self._say("DuckDB")
        found = run_duckdb(write_parquet(self._data, self._say), self._plan.runs, self._plan.threads)
        if found is None:
            self._results.notes.append("DuckDB was left out: no interpreter has it (see requirements/bench.txt)")
            return
        self._results.notes.append(
            f"DuckDB {found.version}: peak memory of its process {found.peak_memory_bytes / MIB:,.0f} MiB"
        )
        names = {query.duckdb: query.name for query in self._plan.queries}
        for key, times in found.times_ms.items():
            plain, _, form = key.partition(", ")
            if plain in names:
                how = f"DuckDB{f' ({form})' if form else ''}"
                self._results.rows.append(
                    Row(query=names[plain], case=MERGED_CASE, how=how, warm_ms=times, cpu_ms=found.cpu_ms[key])
                )

    def _hold_bars(self) -> None:
        results = self._results
        by_group, by_property = (results.row(name, MERGED_CASE, SERVICE) for name in (BY_GROUP, BY_PROPERTY))
        if by_group and by_property:
            ratio = min(by_group.warm_ms) / min(by_property.warm_ms)
            results.bars.append(Bar(name=f"{BY_GROUP}: times one by property", wanted=MAX_GROUP_RATIO, got=ratio))
        for query in self._plan.queries:
            ours = results.row(query.name, MERGED_CASE, SERVICE) or results.row(query.name, MERGED_CASE, PROPOSAL)
            if ours is None:
                continue
            how = ours.how
            marked = query.name if how == SERVICE else f"{query.name} (proposal)"
            wanted = bar_ms(query, results.events)
            results.bars.append(Bar(name=f"{marked}: warm ms", wanted=wanted, got=ours.typical_ms))
            asked = [row for row in results.rows if (row.query, row.how) == (query.name, how)]
            peak = max(row.peak_memory_bytes or 0 for row in asked)
            results.bars.append(Bar(name=f"{marked}: peak MiB", wanted=MAX_MEMORY_BYTES / MIB, got=peak / MIB))
            many, none = (results.row(query.name, case, how) for case in (MANY_MERGES, NO_MERGES))
            if many and none:
                ratio = min(many.warm_ms) / min(none.warm_ms)
                results.bars.append(Bar(name=f"{marked}: price of merges", wanted=MAX_MERGE_RATIO, got=ratio))
            others = [r for r in results.rows if r.query == query.name and r.how.startswith(("comp", "Duck"))]
            if query.times_as_fast is not None and others:
                ratio = min(min(other.warm_ms) for other in others) / min(ours.warm_ms)
                name = f"{marked}: times as fast as the best of the others"
                results.bars.append(Bar(name=name, wanted=query.times_as_fast, got=ratio, at_least=True))


def _setting(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
