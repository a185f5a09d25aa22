"""The same queries as a comparable open system asks them, on the same engine and rows; from published methods. Pure.

People are strings, merged ids are joined to every event, properties are read from their JSON text, and repeats are not
taken away, which those systems leave to the engine's merges. same_answer.py holds paths and funnels to the service's.
"""

from tests.bench.query.history import CONVERSION, FUNNEL, PROJECT, SINCE, UNTIL

_DAY = "toDate(e.timestamp)"
_PERSON = "if(merged.person_id = '', e.distinct_id, merged.person_id)"
_SOURCE = (
    "FROM events AS e ANY LEFT JOIN (SELECT distinct_id, person_id FROM person_ids FINAL "
    f"WHERE project_id = '{PROJECT}') AS merged ON merged.distinct_id = e.distinct_id"
)
_UNTIL = f"toDateTime64('{UNTIL:%F %T}', 6, 'UTC')"
_SINCE_ON = f"WHERE e.project_id = '{PROJECT}' AND e.timestamp >= toDateTime64('{SINCE:%F %T}', 6, 'UTC')"
_WINDOW = f"{_SINCE_ON} AND e.timestamp < {_UNTIL}"
# The order of a person's events. As UUIDs, ids would be compared by their second halves.
_ID = "toUInt128(e.event_id)"
# Of a person's events in the longest history.
_MAX_PLACE = 2**20


def self_join_retention() -> str:
    """People's first day joined to the days of their return events."""
    return (
        "SELECT born.day AS cohort, back.day AS day, count() FROM "
        f"(SELECT {_PERSON} AS person, min({_DAY}) AS day {_SOURCE} {_WINDOW} AND e.event = 'app_opened' "
        "GROUP BY person) AS born INNER JOIN "
        f"(SELECT DISTINCT {_PERSON} AS person, {_DAY} AS day {_SOURCE} {_WINDOW} AND e.event = 'page_viewed') AS back "
        "ON born.person = back.person WHERE back.day >= born.day GROUP BY cohort, day ORDER BY cohort, day"
    )


def array_funnel() -> str:
    """Per person an array of (time, receipt, id, step), sorted; windowFunnel reads it. How many got how far.

    windowFunnel takes events of one time in the order of the steps. So each time is made different by the event's place,
    in bits below the microseconds, which the conversion window has too: an event as late as it may be is within.
    """
    step = f"toUInt8(transform(e.event, {list(FUNNEL)}, {list(range(1, len(FUNNEL) + 1))}, 0))"
    since_us, within_us = int(SINCE.timestamp()) * 1_000_000, int(CONVERSION.total_seconds()) * 1_000_000
    length_us = int((UNTIL - SINCE).total_seconds()) * 1_000_000
    events = f"(toUnixTimestamp64Micro(e.timestamp) - {since_us}, e.received_at, {_ID}, {step})"
    # Only the first step must lie in the time window.
    are_step = [f"arrayMap(x -> x.4 = 1 AND x.1 < {length_us}, history)"]
    are_step += [f"arrayMap(x -> x.4 = {k}, history)" for k in range(2, len(FUNNEL) + 1)]
    funnel = f"windowFunnel({within_us * _MAX_PLACE + _MAX_PLACE - 1})"
    return (
        f"SELECT reached, count() FROM (SELECT arrayReduce('{funnel}', arrayMap((x, place) -> "
        f"toUInt64(x.1 * {_MAX_PLACE} + place), history, arrayEnumerate(history)), {', '.join(are_step)}) AS reached "
        f"FROM (SELECT {_PERSON} AS person, arraySort(groupArray({events})) AS history {_SOURCE} {_SINCE_ON} "
        f"AND e.timestamp < {_UNTIL} + {int(CONVERSION.total_seconds())} AND e.event IN {FUNNEL} GROUP BY person)) "
        "GROUP BY reached ORDER BY reached"
    )


def window_funnel() -> str:
    """windowFunnel per person, in seconds. Not the same query: events of one second go in the order of the steps, and
    nothing behind the time window counts."""
    steps = ", ".join(f"e.event = '{name}'" for name in FUNNEL)
    return (
        f"SELECT reached, count() FROM (SELECT {_PERSON} AS person, "
        f"windowFunnel({int(CONVERSION.total_seconds())})(toDateTime(e.timestamp), {steps}) AS reached "
        f"{_SOURCE} {_WINDOW} AND e.event IN {FUNNEL} GROUP BY person) GROUP BY reached ORDER BY reached"
    )


def array_paths() -> str:
    """Per person an array of (time, receipt, id, event), sorted, cut behind the first start event; then paths are counted,
    those that go on apart."""
    return (
        "SELECT path, onward, count() AS people FROM (WITH "
        f"arraySort(groupArray((e.timestamp, e.received_at, {_ID}, e.event))) AS history, "
        "history.4 AS names, indexOf(names, 'app_opened') AS started "
        f"SELECT {_PERSON} AS person, arraySlice(names, started + 1, 5) AS path, length(names) > started + 5 AS onward "
        f"{_SOURCE} {_WINDOW} GROUP BY person HAVING started > 0) GROUP BY path, onward ORDER BY people DESC"
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
