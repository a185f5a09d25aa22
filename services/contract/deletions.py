"""What a person's deletion covers: one rule for queries, workers, the rewriting of tables, and whoever brings old events
back.

Of a deleted id: everything that was received up to a minute after the request, because the clocks of services differ; and
what comes later, and is dated more than an hour before the request: somebody who came back did not do that. Of a window:
what was received up to the request.
"""

from datetime import datetime, timedelta

RECEIVED_AFTER = timedelta(minutes=1)
DATED_BEFORE = timedelta(hours=1)
_MICROSECOND = timedelta(microseconds=1)  # the unit of all times


def is_covered(requested_at: datetime, received_at: datetime, timestamp: datetime) -> bool:
    """Whether a row of an id belongs to the id's deletion."""
    return received_at <= requested_at + RECEIVED_AFTER or timestamp < requested_at - DATED_BEFORE


def covered_sql(before: str, row: str = "") -> str:
    """`is_covered` in ClickHouse. `before` is SQL of the request's time; `row` the prefix of the row's columns."""
    return f"{before} >= {_covered_from(row)}"


def uncovered_sql(before: str, row: str = "") -> str:
    """The opposite. Of an id that was never deleted `before` is 1970 or earlier."""
    return f"{before} < {_covered_from(row)}"


def _covered_from(row: str) -> str:
    """From which time of a request on it covers the row. So `before` stands in a condition once: it is long, and ClickHouse
    works out every text of it."""
    received = f"subtractSeconds({row}received_at, {RECEIVED_AFTER // timedelta(seconds=1):d})"
    dated = f"addMicroseconds({row}timestamp, {DATED_BEFORE // _MICROSECOND + 1:d})"
    return f"least({received}, {dated})"
