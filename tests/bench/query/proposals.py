"""Plain SQL for queries, to know their cost before the service has them, and what they cost at least. Pure.

`person` is the service's own way from ids to people, so that the same joins are paid for.
"""

from services.query.sql.events import EVENTS_ONCE, EVENTS_WITH_DUPLICATES, IN_WINDOW, with_border
from services.query.sql.persons import JOIN_PERSONS, PERSON
from tests.bench.query.history import FUNNEL, PROJECT, SINCE, UNTIL

_WINDOW_US = 7 * 86_400 * 1_000_000
PARAMETERS: dict[str, str | int] = {
    "project": PROJECT,
    "since": int(SINCE.timestamp()) * 1_000_000,
    "until": int(UNTIL.timestamp()) * 1_000_000,
}
_IN_WINDOW = with_border(IN_WINDOW, {}, 0)[0]


def ordered_funnel() -> str:
    """How many people reached which step; repeats change nothing."""
    steps = ", ".join(f"e.event = '{name}'" for name in FUNNEL)
    return (
        f"SELECT reached, count() FROM (SELECT {PERSON} AS person, "
        f"windowFunnel({_WINDOW_US})(toUInt64(toUnixTimestamp64Micro(e.timestamp)), {steps}) AS reached "
        f"FROM {EVENTS_WITH_DUPLICATES} {JOIN_PERSONS} WHERE {_IN_WINDOW} AND e.event IN {FUNNEL} GROUP BY person) "
        "GROUP BY reached ORDER BY reached"
    )


def daily_counts_by_country() -> str:
    """Counts by day and JSON text of a property, the ten most frequent values and the others."""
    return (
        "WITH 10 AS top SELECT if(rank <= top, value, '') AS shown, day, sum(events) FROM (SELECT *, "
        "dense_rank() OVER (ORDER BY total DESC, value) AS rank FROM (SELECT *, sum(events) OVER (PARTITION BY value) "
        "AS total FROM (SELECT toDate(e.timestamp) AS day, JSONExtractRaw(e.properties, 'country') AS value, "
        f"count() AS events FROM {EVENTS_ONCE} WHERE {_IN_WINDOW} AND e.event = 'page_viewed' GROUP BY day, value))) "
        "GROUP BY shown, day ORDER BY shown, day"
    )
