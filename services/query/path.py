"""The path question: what people did after their first start event, as a prefix tree."""

import asyncio
from typing import Any

import numpy as np
from msgspec import Struct

from services.contract.errors import ApiError, ErrorCode
from services.contract.questions import PathAnswer
from services.query.execute import QuestionStore
from services.query.path_tree import DistinctPaths, TooManyNodesError, path_tree
from services.query.scope import Scope, scope_sql
from services.query.source import EVENTS_WITH_REPEATS, IN_WINDOW, window_parameters
from services.query.window import SECOND_US, Window
from services.runtime.clickhouse import StoreUnavailableError

# What one answer may be made of: at the deepest 168 MB of paths, and an answer of about 10 MB.
MAX_DISTINCT_PATHS = 1_000_000
MAX_NODES = 100_000
MAX_EVENT_NAMES = 100_000


class PathQuestion(Struct, frozen=True):
    """The options act in this order: `session_gap_s`, `collapse_repeats`, `end_event`, `max_depth`, `top`."""

    start_event: str
    window: Window
    max_depth: int
    top: int
    collapse_repeats: bool
    session_gap_s: int | None
    end_event: str | None
    scope: Scope = Scope()


async def answer_path(store: QuestionStore, project_id: str, question: PathQuestion) -> PathAnswer:
    """Raises ApiError when the paths differ too much from each other to be an answer."""
    sql, parameters = path_sql(project_id, question)
    table = await store.raw(sql, parameters, "RowBinary")
    # The names after the paths, so that each event of a path has one.
    names = await store.rows(*names_sql(project_id, question))
    if len(names) > MAX_EVENT_NAMES or len(table) > MAX_DISTINCT_PATHS * 8 * (question.max_depth + 1):
        raise _too_expensive("There are too many different paths.")
    try:
        return await asyncio.to_thread(_tree, table, names, question)
    except TooManyNodesError as error:
        raise _too_expensive(f"The tree has more than {MAX_NODES} nodes.") from error


def path_sql(project_id: str, question: PathQuestion) -> tuple[str, dict[str, Any]]:
    """Rows of `max_depth` event codes and a number of people, all UInt64; code 0 is the end of a path.

    A person's events are one array of 128-bit numbers made of (time since the window's begin: 53 bits, the first 58
    bits of the event id, the place of the event's name: 17): sorting and taking away repeats are then work on plain
    numbers, four times as fast as on tuples. Two events of one person at the same microsecond whose ids begin with
    the same 58 bits would be put in the order of their names.
    """
    depth = question.max_depth
    scope = scope_sql(question.scope)
    parameters = {
        **window_parameters(project_id, question.window),
        **scope.parameters,
        "start": question.start_event,
    }
    per_person = (
        f"WITH {', '.join(_steps(question, parameters))} "
        f"SELECT {scope.who} AS person, arrayResize(steps, {depth:d}, 0) AS path "
        f"FROM {EVENTS_WITH_REPEATS} {scope.joins} WHERE {IN_WINDOW}{scope.where} "
        f"GROUP BY person HAVING {_place_of('{start:String}')} != 0 AND started > 0"
    )
    # A name's place holds for this query only; its hash is known to names_sql.
    columns = ", ".join(f"{_NAMES}.2[path[{i + 1:d}]]" for i in range(depth))
    return (
        f"SELECT {columns}, count() AS people FROM ({per_person}) GROUP BY path LIMIT {MAX_DISTINCT_PATHS + 1:d}",
        parameters,
    )


# ([name], [hash of the name]) of the window's events: constants of a query, worked out once.
_NAMES = (
    "(SELECT (groupArray(name), groupArray(code)) FROM (SELECT toString(e.event) AS name, sipHash64(e.event) AS code "
    f"FROM {EVENTS_WITH_REPEATS} WHERE {IN_WINDOW} GROUP BY e.event LIMIT {MAX_EVENT_NAMES:d}))"
)
_TIME_BITS, _NAME_BITS = 75, 17


def _place_of(name: str) -> str:
    """The place (from 1) of a name in _NAMES, worked out once for each name of a block. 0: it came this very moment."""
    return f"transform({name}, {_NAMES}.1, arrayEnumerate({_NAMES}.1), 0)"


def _steps(question: PathQuestion, parameters: dict[str, Any]) -> list[str]:
    """From a person's rows to `steps`, the places of the names after the start event."""
    steps = [
        f"bitShiftLeft(toUInt128(toUnixTimestamp64Micro(e.timestamp) - {{since:Int64}}), {_TIME_BITS})"
        f" + bitShiftLeft(bitShiftRight(toUInt128(e.event_id), 70), {_NAME_BITS})"
        f" + {_place_of('e.event')} AS packed",
        "arrayCompact(arraySort(groupArray(packed))) AS history",
        f"indexOf(arrayMap(x -> bitAnd(toUInt32(x), {2**_NAME_BITS - 1:d}), history), {_place_of('{start:String}')}) "
        "AS started",
    ]
    # Repeats are skipped without limit; else no more than the depth is ever looked at.
    length = "" if question.collapse_repeats else f", {question.max_depth + 1:d}"
    steps.append(f"arraySlice(history, started{length}) AS onward")
    if question.session_gap_s is None:
        steps.append("onward AS session")
    else:
        parameters["gap"] = question.session_gap_s * SECOND_US
        steps += [
            f"arrayDifference(arrayMap(x -> toInt64(bitShiftRight(x, {_TIME_BITS})), onward)) AS pauses",
            "arrayFirstIndex(x -> x > {gap:Int64}, pauses) AS pause",
            "if(pause = 0, onward, arraySlice(onward, 1, pause - 1)) AS session",
        ]
    places = f"arrayMap(x -> bitAnd(toUInt32(x), {2**_NAME_BITS - 1:d}), session)"
    steps.append(f"arraySlice({f'arrayCompact({places})' if question.collapse_repeats else places}, 2) AS after")
    if question.end_event is None:
        steps.append("after AS steps")
    else:
        parameters["end"] = question.end_event
        # Of a name that the window does not have the place is 0, and so is the end's.
        steps += [
            f"indexOf(after, {_place_of('{end:String}')}) AS ended",
            "if(ended = 0, after, arraySlice(after, 1, ended)) AS steps",
        ]
    return steps


def names_sql(project_id: str, question: PathQuestion) -> tuple[str, dict[str, Any]]:
    """Rows (code, event name), in order of the names."""
    return (
        f"SELECT sipHash64(e.event) AS code, e.event FROM {EVENTS_WITH_REPEATS} WHERE {IN_WINDOW} "
        f"GROUP BY e.event ORDER BY e.event LIMIT {MAX_EVENT_NAMES + 1:d}"
    ), window_parameters(project_id, question.window)


def _tree(table: bytes, names: list[Any], question: PathQuestion) -> PathAnswer:
    rows = np.frombuffer(table, dtype="<u8").reshape(-1, question.max_depth + 1)
    codes = np.array([0, *(code for code, _ in names)], dtype="<u8")
    ascending = np.argsort(codes)
    levels = np.empty((question.max_depth, len(rows)), dtype=np.int32)
    for depth, level in enumerate(levels):
        found = np.searchsorted(codes, rows[:, depth], sorter=ascending)
        level[:] = ascending[np.minimum(found, len(codes) - 1)]
        if not np.array_equal(codes[level], rows[:, depth]):
            raise StoreUnavailableError("events were deleted while their paths were read")
    paths = DistinctPaths(levels, rows[:, -1].astype(np.int64), ["", *(name for _, name in names)])
    root = path_tree(paths, question.start_event, question.top, MAX_NODES)
    return PathAnswer(
        root=root.event, count=root.count, drop_off=root.drop_off, other=root.other, children=root.children
    )


def _too_expensive(reason: str) -> ApiError:
    return ApiError(
        ErrorCode.QUERY_TOO_EXPENSIVE,
        f"{reason} Ask for a smaller `max_depth` or `top`, a narrower window, or `collapse_repeats`.",
        field="max_depth",
    )
