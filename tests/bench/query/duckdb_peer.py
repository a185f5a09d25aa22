"""DuckDB on the same rows in Parquet, as a program of its own: standard library and duckdb only.

`duckdb_peer.py FOLDER SINCE UNTIL FUNNEL RUNS THREADS` prints JSON: for each query its times in ms, warm, and CPU time
of one run; the peak memory of this process. Times of DuckDB are times with a time zone, in UTC.
"""

import json
import resource
import sys
import time

import duckdb

_PERSON = "coalesce(merged.person_id, e.distinct_id)"
_SOURCE = "FROM events AS e LEFT JOIN people AS merged ON merged.distinct_id = e.distinct_id"


def queries(since: str, until: str, funnel: list[str]) -> dict[str, str]:
    window = f"WHERE e.timestamp >= TIMESTAMPTZ '{since}' AND e.timestamp < TIMESTAMPTZ '{until}'"
    day = f"date_diff('day', TIMESTAMPTZ '{since}', e.timestamp)"
    return {
        "events": (
            "SELECT event_id, event, distinct_id, epoch_us(timestamp), epoch_us(received_at), properties "
            f"FROM events AS e {window} ORDER BY e.timestamp DESC, e.event_id DESC LIMIT 1001"
        ),
        "retention": (
            f"WITH asked AS (SELECT {_PERSON} AS person, e.event, {day} AS day {_SOURCE} {window} "
            "AND e.event IN ('app_opened', 'page_viewed')), "
            "born AS (SELECT person, min(day) AS cohort FROM asked WHERE event = 'app_opened' GROUP BY person), "
            "back AS (SELECT DISTINCT person, day FROM asked WHERE event = 'page_viewed') "
            "SELECT cohort, day, count(*) FROM born JOIN back USING (person) WHERE day > cohort GROUP BY cohort, day "
            "UNION ALL SELECT cohort, cohort, count(*) FROM born GROUP BY cohort"
        ),
        "retention, bits": (
            f"SELECT cohort, days, count(*) FROM (SELECT {_PERSON} AS person, "
            f"min({day}) FILTER (event = 'app_opened') AS cohort, "
            f"bit_or(1::BIGINT << {day}) FILTER (event = 'page_viewed') AS days "
            f"{_SOURCE} {window} AND e.event IN ('app_opened', 'page_viewed') GROUP BY person) "
            "WHERE cohort IS NOT NULL GROUP BY cohort, days"
        ),
        "path": (
            f"WITH asked AS (SELECT {_PERSON} AS person, list(e.event ORDER BY e.timestamp, e.received_at, e.event_id) AS history "
            f"{_SOURCE} {window} GROUP BY person), "
            "started AS (SELECT history, list_position(history, 'app_opened') AS start FROM asked) "
            "SELECT list_slice(history, start + 1, start + 5) AS path, len(history) > start + 5 AS onward, count(*) "
            "FROM started WHERE start > 0 GROUP BY path, onward"
        ),
        "funnel": _funnel(since, until, funnel),
        "trends": _trends(window, day, "country"),
        "trends of plans": _trends(window, day, "plan"),
    }


def _trends(window: str, day: str, key: str) -> str:
    return (
        f"SELECT {day} AS day, json_extract_string(e.properties, '$.{key}') AS value, "
        f"count(*) FROM events AS e {window} AND e.event = 'page_viewed' GROUP BY day, value"
    )


def _funnel(since: str, until: str, steps: list[str]) -> str:
    """Each row carries the latest start of a chain that has come so far within a week, which may end after the window."""
    names = ", ".join(f"'{name}'" for name in steps)
    week_us = 7 * 86_400 * 1_000_000
    over = "OVER (PARTITION BY person ORDER BY time, received_at, event_id ROWS UNBOUNDED PRECEDING)"
    levels = [
        f"step0 AS (SELECT {_PERSON} AS person, epoch_us(e.timestamp) AS time, e.received_at, e.event_id, e.event "
        f"{_SOURCE} WHERE e.timestamp >= TIMESTAMPTZ '{since}' "
        f"AND e.timestamp < TIMESTAMPTZ '{until}' + INTERVAL 7 DAYS AND e.event IN ({names}))",
        f"step1 AS (SELECT *, max(CASE WHEN event = '{steps[0]}' AND time < epoch_us(TIMESTAMPTZ '{until}') "
        f"THEN time END) {over} AS start1 FROM step0)",
    ]
    for i, name in enumerate(steps[1:], 2):
        reached = f"CASE WHEN event = '{name}' AND time - start{i - 1} <= {week_us} THEN start{i - 1} END"
        levels.append(f"step{i} AS (SELECT *, max({reached}) {over} AS start{i} FROM step{i - 1})")
    ends = ", ".join(f"max(start{i}) AS start{i}" for i in range(1, len(steps) + 1))
    counts = ", ".join(f"count(start{i})" for i in range(1, len(steps) + 1))
    return (
        f"WITH {', '.join(levels)} SELECT {counts} FROM (SELECT person, {ends} FROM step{len(steps)} GROUP BY person)"
    )


def main() -> None:
    folder, since, until, funnel, runs, threads = sys.argv[1:]
    connection = duckdb.connect()
    connection.execute(f"SET threads = {int(threads)}; SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    connection.execute(f"CREATE VIEW events AS SELECT * FROM '{folder}/events/*.parquet'")
    connection.execute(f"CREATE VIEW people AS SELECT * FROM '{folder}/people.parquet'")
    times: dict[str, list[float]] = {}
    cpu: dict[str, float] = {}
    for name, sql in queries(since, until, funnel.split(",")).items():
        connection.execute(sql).fetchall()
        times[name] = []
        used = time.process_time()
        for _ in range(int(runs)):
            started = time.perf_counter()
            connection.execute(sql).fetchall()
            times[name].append((time.perf_counter() - started) * 1000)
        cpu[name] = (time.process_time() - used) * 1000 / int(runs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"version": duckdb.__version__, "times_ms": times, "cpu_ms": cpu, "peak_memory_bytes": peak}))


if __name__ == "__main__":
    main()
