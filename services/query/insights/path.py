"""The path query: what people did after their first start event, as a prefix tree."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.path import PathQuery, PathResult
from services.contract.api.timestamps import microseconds
from services.contract.api.validation import refuse_nul
from services.query.execution.executor import QueryExecutor
from services.query.insights.path_tree import DistinctPaths, TooManyNodesError, path_tree
from services.query.request.event_filter import Names, parse_names, shown_names
from services.query.request.segment import Segment, parse_segment
from services.query.request.time_window import SECOND_US, TimeWindow, window_of
from services.query.sql.events import EVENTS_WITH_DUPLICATES, IN_WINDOW, window_parameters
from services.query.sql.moments import Moments, moments
from services.query.sql.parameters import Promoted
from services.query.sql.segment import segment_sql
from services.runtime.clock import utc_now
from services.runtime.row_binary import read_count, read_strings

# What one answer may be made of: distinct paths, a million at the deepest and 3.1 million of depth 5, and an answer of
# about 10 MB.
MAX_PATHS_BYTES = 88_000_000
MAX_NODES = 100_000
MAX_EVENT_NAMES = 100_000


_DEFAULT_DEPTH, _DEFAULT_TOP = 5, 10


class PathSpec(Struct, frozen=True):
    """`before`: the paths are read backwards from the start event. The options act in this order: `session_gap_s`,
    `collapse_repeats`, `end_event`, `max_depth`, `top`."""

    start_event: Names
    window: TimeWindow
    max_depth: int
    top: int
    collapse_repeats: bool
    session_gap_s: int | None
    end_event: str | None
    segment: Segment = Segment()
    before: bool = False


def parse_path(query: PathQuery, project_id: str) -> PathSpec:
    refuse_nul(query.end_event, "end_event")
    return PathSpec(
        start_event=parse_names(query.start_event, "start_event"),
        window=window_of(query),
        max_depth=query.max_depth or _DEFAULT_DEPTH,
        top=query.top or _DEFAULT_TOP,
        collapse_repeats=bool(query.collapse_repeats),
        session_gap_s=query.session_gap_seconds,
        end_event=query.end_event,
        segment=parse_segment(query),
        before=query.direction == "before",
    )


async def run_path(store: QueryExecutor, project_id: str, spec: PathSpec, promoted: Promoted) -> PathResult:
    """Raises ApiError when the paths differ too much from each other to be an answer."""
    sql, parameters = path_sql(project_id, spec, promoted)
    table = await store.raw(sql, parameters, "RowBinary")
    return await asyncio.to_thread(_tree, table, spec)


def path_sql(project_id: str, spec: PathSpec, promoted: Promoted) -> tuple[str, dict[str, Any]]:
    """One row: an array of UInt64 for each word of the paths, one of the people, and the names. A word holds the places of
    the names of three events, see _words; place 0 is the end of a path.

    A person's events are one array of numbers, see moments.py, with the place of the event's name as payload.
    """
    people, steps, parameters = _people(project_id, spec, promoted)
    words = _words(spec.max_depth)
    names = [f"word_{i:d}" for i in range(len(words))]
    columns = ", ".join(f"{word} AS {name}" for word, name in zip(words, names, strict=True))
    paths = (
        f"WITH {steps} SELECT {columns}, count() AS people FROM ({people}) "
        f"GROUP BY {', '.join(names)} LIMIT {_max_paths(spec) + 1:d}"
    )
    # Arrays of tuples would take twice as long.
    arrays = ", ".join(f"groupArray({name})" for name in [*names, "people"])
    return f"SELECT {arrays}, {_NAMES} FROM ({paths})", parameters


def _words(depth: int) -> list[str]:
    """SQL of the places of `steps` behind the start, three in one number, the first one in its lowest bits. The highest bit
    in use of the last one says whether the path goes on. To group by them takes less than by the places."""
    words = []
    for first in range(0, depth, _WORD_PLACES):
        behind = range(min(_WORD_PLACES, depth - first))
        words.append([f"bitShiftLeft(toUInt64(steps[{first + i + 2:d}]), {i * _NAME_BITS:d})" for i in behind])
    words[-1].append(f"bitShiftLeft(toUInt64(length(steps) > {depth + 1:d}), {_WORD_PLACES * _NAME_BITS:d})")
    return [" + ".join(word) for word in words]


def path_people_sql(
    project_id: str, spec: PathSpec, node: Sequence[str], part: str, promoted: Promoted
) -> tuple[str, dict[str, Any]]:
    """One column, `unit`: the people of a number of the node that the events `node` lead to, each once."""
    people, steps, parameters = _people(project_id, spec, promoted)
    depth, came = len(node), []
    for i, name in enumerate(node):
        parameters[f"node{i:d}"] = name
        place = _place_of(f"{{node{i:d}:String}}")
        # Of a name that the window does not have, the place is that of a path's end.
        came.append(f"steps[{i + 2:d}] = {place} AND {place} != 0")
    further = f"length(steps) > {depth + 1:d}"
    came += {"count": [], "drop_off": [f"NOT {further}"]}.get(part, [further])
    if (part == "continued" and depth < spec.max_depth) or (part == "other" and depth >= spec.max_depth):
        came.append("false")
    at_node = f"WITH {steps} SELECT unit, steps FROM ({people}) WHERE {' AND '.join(came) or 'true'}"
    if part != "other":
        return f"SELECT unit FROM ({at_node})", parameters
    by_child = (
        f"SELECT groupArray(unit) AS units FROM ({at_node}) GROUP BY steps[{depth + 2:d}] AS child "
        f"ORDER BY length(units) DESC, arrayElement({_NAMES}, child) LIMIT {_ALL_CHILDREN:d} OFFSET {spec.top:d}"
    )
    return f"SELECT arrayJoin(units) AS unit FROM ({by_child})", parameters


def _people(project_id: str, spec: PathSpec, promoted: Promoted) -> tuple[str, str, dict[str, Any]]:
    """Rows (unit, ...) of those who have a start event; what makes `steps` of them, to stand behind WITH."""
    segment = segment_sql(spec.segment, promoted)
    moment = moments(spec.window, _NAME_BITS, microseconds(utc_now()))
    parameters = {
        **window_parameters(project_id, spec.window),
        **moment.parameters,
        **segment.parameters,
    }
    history = "arrayCompact(arraySort(arrayFilter(x -> x %s first, packed_events)))"
    histories = segment.units_of_rows(
        f"{moment.number(_place_of('e.event'))} AS packed, {_start(spec.start_event, parameters)} AS is_start",
        ["packed", "is_start"],
        {
            "first": "minIf(packed, is_start)",
            "packed_events": "groupArray(packed)",
            # What is less than the first start event's number came before it.
            "onward": f"arrayReverse({history % '<='})" if spec.before else history % ">=",
        },
        EVENTS_WITH_DUPLICATES,
        IN_WINDOW,
    )
    return f"{histories} HAVING first > 0", ", ".join(_steps(spec, moment, parameters)), parameters


def _start(names: Names, parameters: dict[str, Any]) -> str:
    if names is None:
        return "true"
    parameters["start"] = names if isinstance(names, str) else list(names)
    return "e.event = {start:String}" if isinstance(names, str) else "e.event IN {start:Array(String)}"


# The names of the window's events: a constant of the query, worked out once. By the index alone, so that no time is read:
# events just outside the window may lend further names, which then no path has.
_NAMES = (
    f"(SELECT groupArray(name) FROM (SELECT DISTINCT toString(e.event) AS name FROM {EVENTS_WITH_DUPLICATES} "
    "WHERE e.project_id = {project:String} AND indexHint(e.timestamp >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') "
    f"AND e.timestamp < fromUnixTimestamp64Micro({{until:Int64}}, 'UTC')) LIMIT {MAX_EVENT_NAMES + 1:d}))"
)
_NAME_BITS = 17
_WORD_PLACES = 3
_ALL_CHILDREN = 2**62


def _place_of(name: str) -> str:
    """The place (from 1) of a name in _NAMES, worked out once for each name of a block. 0: it came this very moment."""
    return f"transform({name}, {_NAMES}, arrayEnumerate({_NAMES}), 0)"


def _steps(spec: PathSpec, moment: Moments, parameters: dict[str, Any]) -> list[str]:
    """From `onward`, a person's events from the start event on (or backwards), to `steps`, the places of their names."""
    if spec.session_gap_s is None:
        steps = ["onward AS session"]
    else:
        parameters["gap"] = spec.session_gap_s * SECOND_US
        steps = [
            f"arrayDifference(arrayMap(x -> {moment.time('x')}, onward)) AS pauses",
            "arrayFirstIndex(x -> abs(x) > {gap:Int64}, pauses) AS pause",
            "if(pause = 0, onward, arraySlice(onward, 1, pause - 1)) AS session",
        ]
    places = f"arrayMap(x -> {moment.payload('x')}, %s)"
    if spec.collapse_repeats:
        steps.append(f"arrayCompact({places % 'session'}) AS taken")
    else:
        # The start, so many more, and whether there is another one: no more is ever looked at.
        steps.append(f"{places % f'arraySlice(session, 1, {spec.max_depth + 2:d})'} AS taken")
    if spec.end_event is None:
        steps.append("taken AS steps")
    else:
        parameters["end"] = spec.end_event
        # The start event is no end. A name that the window does not have has the place 0, and is in no path.
        steps += [
            f"indexOf(arraySlice(taken, 2), {_place_of('{end:String}')}) AS ended",
            "if(ended = 0, taken, arraySlice(taken, 1, ended + 1)) AS steps",
        ]
    return steps


def _max_paths(spec: PathSpec) -> int:
    """A path is four bytes a place here, and nine for the rest."""
    return MAX_PATHS_BYTES // (4 * spec.max_depth + 9)


def _tree(table: bytes, spec: PathSpec) -> PathResult:
    columns, at = [], 0
    # Reading is bounded by the LIMITs of the query.
    for _ in range(len(_words(spec.max_depth)) + 1):
        paths, at = read_count(table, at)
        columns.append(np.frombuffer(table, "<u8", paths, at))
        at += columns[-1].nbytes
    *words, people = columns
    names = read_strings(table, at)
    if len(names) > MAX_EVENT_NAMES or len(people) > _max_paths(spec):
        raise _too_expensive("There are too many different paths.")
    order = sorted(range(len(names)), key=names.__getitem__)
    # From places in the order of the query to places in the alphabet's.
    alphabetical = np.zeros(len(names) + 1, np.int32)
    alphabetical[np.array(order, np.int64) + 1] = np.arange(1, len(names) + 1)
    steps = (divmod(i, _WORD_PLACES) for i in range(spec.max_depth))
    distinct = DistinctPaths(
        levels=np.stack([alphabetical[_bits(words[word], place, _NAME_BITS)] for word, place in steps]),
        people=people.astype(np.int64),
        names=["", *(names[i] for i in order)],
        onward=_bits(words[-1], _WORD_PLACES, 1).astype(bool),
    )
    try:
        root = path_tree(distinct, "", spec.top, MAX_NODES)
    except TooManyNodesError as error:
        raise _too_expensive(f"The tree has more than {MAX_NODES} nodes.") from error
    return PathResult(
        root=shown_names(spec.start_event),
        count=root.count,
        drop_off=root.drop_off,
        continued=root.continued,
        other=root.other,
        children=root.children,
    )


def _bits(words: NDArray[np.uint64], place: int, bits: int) -> NDArray[np.int64]:
    shifted = words >> np.uint64(place * _NAME_BITS)
    return (shifted & np.uint64(2**bits - 1)).astype(np.int64)


def _too_expensive(reason: str) -> ApiError:
    return ApiError(
        ErrorCode.QUERY_TOO_EXPENSIVE,
        f"{reason} Ask for a smaller `max_depth` or `top`, a narrower window, or `collapse_repeats`.",
        field="max_depth",
    )
