"""A person's events -> how far the best funnel went and when each step was taken. SQL over arrays, one row a person.

A row has `times` (microseconds) and `masks` (bit k - 1: the event can be step k), both in order of (time, time of
receipt, event id), see moments.py; where the first step must come first, so does an event that can be it.
Each way of reading them adds `level` (steps of the best funnel) and `at` (their times; beyond `level` anything),
and `started` (the place of its first event). Masks have no bit 0 where an event comes after the time window, and so
cannot be a start. All is done by filling arrays forwards or backwards, so that the work
grows with the number of events, not with its square.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

# No time: later than any, earlier than any.
_NEVER, _BEFORE_ALL = f"toInt64({2**62})", f"toInt64({-(2**62)})"


def ordered(rows: str, steps: int) -> str:
    """Greedy is best: for every start, taking each step as early as it comes leaves most to the next ones.

    `since_k[i]`: the latest start of those who have taken k steps by event i. It never falls as i grows, so it is the
    one with most of its window left. The steps that the person got (`level`) are first all taken at the event `done`.
    Whoever starts earlier takes them by then, too, while within the window of it; so the first start from `earliest`
    on counts. It has taken k steps at the first event by which any start since `earliest` has.
    """
    # The first event is a start, so there is always something to fill with.
    since = ["arrayFill((t, m) -> bitTest(m, 0), times, masks) AS since_1"]
    since += [
        f"arrayFill((s, t, m) -> bitTest(m, {k - 1:d}) AND t - s <= {{within:Int64}}, "
        f"arrayShiftRight(since_{k - 1:d}, 1, {_BEFORE_ALL}), times, masks) AS since_{k:d}"
        for k in range(2, steps + 1)
    ]
    level = " + ".join(["1", *(f"(since_{k:d}[-1] >= 0)" for k in range(2, steps + 1))])
    waiting = [f"level = {k:d}, countEqual(since_{k:d}, {_BEFORE_ALL})" for k in range(2, steps + 1)]
    # Stage by stage: within one SELECT a name stands for its whole text, and `done` would repeat all of it.
    filled = f"SELECT *, {', '.join(since)} FROM ({rows})"
    reached = (
        f"SELECT *, multiIf({', '.join([*waiting, '0'])}) + 1 AS done FROM (SELECT *, {level} AS level FROM ({filled}))"
    )
    # A number, because a function over an array copies for each member what it takes from outside.
    bound = f"SELECT *, times[done] - {{within:Int64}} AS earliest FROM ({reached})"
    # Whoever got to the last step took it at `done`.
    places = [f"arrayFirstIndex(s -> s >= earliest, since_{k:d}) AS place_{k:d}" for k in range(1, steps)]
    at = ", ".join([*(f"times[place_{k:d}]" for k in range(1, steps)), "times[done]"])
    return f"SELECT *, place_1 AS started, [{at}] AS at FROM (SELECT *, {', '.join(places)} FROM ({bound}))"


def strict(rows: str, steps: int) -> str:
    """Step k must be the event k - 1 places after the start."""
    taken = ["arrayMap(m -> bitTest(m, 0), masks) AS taken_1"]
    taken += [
        f"arrayMap((before, m, t, start) -> before AND bitTest(m, {k - 1:d}) AND t - start <= {{within:Int64}}, "
        f"taken_{k - 1:d}, arrayShiftLeft(masks, {k - 1:d}), arrayShiftLeft(times, {k - 1:d}), times) AS taken_{k:d}"
        for k in range(2, steps + 1)
    ]
    names = [f"taken_{k:d}" for k in range(1, steps + 1)]
    levels = f"arrayMap(({', '.join(names)}) -> {' + '.join(names)}, {', '.join(names)})"
    reached = f"WITH {', '.join(taken)} SELECT *, {levels} AS levels FROM ({rows})"
    return _best(reached, f"arrayResize(arraySlice(times, started, {steps:d}), {steps:d})")


def in_any_order(rows: str, steps: int, alike: Sequence[Sequence[int]]) -> str:
    """k steps are taken as soon as k different events can be k different steps (a matching of events and steps).

    `alike`: the steps (from 1) by event name; events of different names never compete for a step. Within the steps G
    of one name r of them are taken by the time T when for each part S of G there are r - |G| + |S| events that can be
    a step of S (Hall's theorem), so T is the latest of the times of these events.
    """
    columns, names = [], []
    for group in alike:
        for part in _parts(group):
            columns += _nth_times(part)
        for r in range(1, len(group) + 1):
            needed = [(part, r - len(group) + len(part)) for part in _parts(group) if len(part) > len(group) - r]
            arrays = [_nth_name(part, nth) for part, nth in needed]
            names.append(f"done_{group[0]:d}_{r:d}")
            columns.append(f"{_latest(arrays)} AS {names[-1]}")
    given = ", ".join(names)
    timed = f"WITH {', '.join(columns)} SELECT *, {given} FROM ({rows})"
    in_time = " + ".join(f"(d{i:d} - t <= {{within:Int64}})" for i in range(len(names)))
    variables = ", ".join(f"d{i:d}" for i in range(len(names)))
    # Only events of the time window are starts; what comes later may be a further step.
    in_window = "(t < {length:Int64})"
    reached = (
        f"SELECT *, arrayMap((t, {variables}) -> {in_window} * ({in_time}), times, {given}) AS levels FROM ({timed})"
    )
    return _best(reached, f"arraySort([{', '.join(f'{name}[started]' for name in names)}])")


def _parts(group: Sequence[int]) -> list[tuple[int, ...]]:
    return [part for size in range(1, len(group) + 1) for part in combinations(group, size)]


def _nth_name(part: Iterable[int], nth: int) -> str:
    return f"nth_{'_'.join(map(str, part))}_at_{nth:d}"


def _nth_times(part: Sequence[int]) -> list[str]:
    """At each event: when the nth event, itself included, comes that can be a step of the part."""
    mask = sum(1 << (step - 1) for step in part)
    columns = []
    for nth in range(1, len(part) + 1):
        there = "times" if nth == 1 else f"arrayShiftLeft({_nth_name(part, nth - 1)}, 1, {_NEVER})"
        columns.append(
            f"arrayReverseFill(x -> x < {_NEVER}, arrayMap((m, x) -> if(bitAnd(m, {mask:d}) != 0, x, {_NEVER}), "
            f"masks, {there})) AS {_nth_name(part, nth)}"
        )
    return columns


def _latest(arrays: Sequence[str]) -> str:
    if len(arrays) == 1:
        return arrays[0]
    variables = [f"x{i:d}" for i in range(len(arrays))]
    return f"arrayMap(({', '.join(variables)}) -> greatest({', '.join(variables)}), {', '.join(arrays)})"


def _best(reached: str, at: str) -> str:
    """`levels`: how far each event gets as a start. The furthest counts, of several the first."""
    best = f"SELECT *, arrayMax(levels) AS level, indexOf(levels, level) AS started FROM ({reached})"
    return f"SELECT *, {at} AS at FROM ({best} WHERE level > 0)"
