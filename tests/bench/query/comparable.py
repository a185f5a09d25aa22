"""The same queries as a comparable open system asks them, on the same engine and rows; from published methods. Pure.

People are strings, merged ids are joined to every event, properties are read from their JSON text, and repeats are not
taken away, which those systems leave to the engine's merges.
"""

from tests.bench.query.history import FUNNEL, PROJECT, SINCE, UNTIL

_DAY = "toDate(e.timestamp)"
_PERSON = "if(merged.person_id = '', e.distinct_id, merged.person_id)"
_SOURCE = (
    "FROM events AS e ANY LEFT JOIN (SELECT distinct_id, person_id FROM person_ids FINAL "
    f"WHERE project_id = '{PROJECT}') AS merged ON merged.distinct_id = e.distinct_id"
)
_WINDOW = (
    f"WHERE e.project_id = '{PROJECT}' AND e.timestamp >= toDateTime64('{SINCE:%F %T}', 6, 'UTC') "
    f"AND e.timestamp < toDateTime64('{UNTIL:%F %T}', 6, 'UTC')"
)


def self_join_retention() -> str:
    """People's first day joined to the days of their return events."""
    return (
        "SELECT born.day AS cohort, back.day AS day, count() FROM "
        f"(SELECT {_PERSON} AS person, min({_DAY}) AS day {_SOURCE} {_WINDOW} AND e.event = 'app_opened' "
        "GROUP BY person) AS born INNER JOIN "
        f"(SELECT DISTINCT {_PERSON} AS person, {_DAY} AS day {_SOURCE} {_WINDOW} AND e.event = 'page_viewed') AS back "
        "ON born.person = back.person WHERE back.day >= born.day GROUP BY cohort, day ORDER BY cohort, day"
    )


def window_funnel() -> str:
    """windowFunnel per person, in seconds."""
    steps = ", ".join(f"e.event = '{name}'" for name in FUNNEL)
    return (
        f"SELECT reached, count() FROM (SELECT {_PERSON} AS person, "
        f"windowFunnel(604800)(toDateTime(e.timestamp), {steps}) AS reached "
        f"{_SOURCE} {_WINDOW} AND e.event IN {FUNNEL} GROUP BY person) GROUP BY reached ORDER BY reached"
    )


def array_paths() -> str:
    """Per person an array of (time, event), sorted, cut behind the first start event; then paths are counted."""
    return (
        "SELECT path, count() AS people FROM (WITH arraySort(groupArray((e.timestamp, toString(e.event)))) AS history, "
        "arrayMap(x -> x.2, history) AS names, indexOf(names, 'app_opened') AS started "
        f"SELECT {_PERSON} AS person, arraySlice(names, started + 1, 5) AS path {_SOURCE} {_WINDOW} "
        "GROUP BY person HAVING started > 0) GROUP BY path ORDER BY people DESC"
    )


def json_trends(key: str = "country") -> str:
    """Counts by day and JSON value."""
    return (
        f"SELECT {_DAY} AS day, JSONExtractString(e.properties, '{key}') AS value, count() "
        f"FROM events AS e {_WINDOW} AND e.event = 'page_viewed' GROUP BY day, value ORDER BY day, value"
    )


def latest_events() -> str:
    """The latest events by time, with FINAL: a list must not show an event twice."""
    return (
        "SELECT e.event_id, e.event, e.distinct_id, e.timestamp, e.properties FROM events AS e FINAL "
        f"{_WINDOW} ORDER BY e.timestamp DESC LIMIT 1001"
    )
