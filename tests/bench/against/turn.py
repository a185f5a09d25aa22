"""One turn of both builds: bursts through their edges, drains by their workers; CPU time from rest to rest.

Nothing is cut out of a running process, so nothing depends on when it was looked at: before a burst all is at rest,
after it everything was answered, and after a drain everything is stored.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from msgspec import Struct, field

from tests.bench.against.figures import Prices, Side
from tests.bench.against.installation import Installation
from tests.bench.load import LoadPlan
from tests.bench.processes import Usage

BATCHES, SINGLES, WORKER, END_TO_END = PARTS = (1, 2, 3, 4)
TITLES = {
    BATCHES: "Edge, batches of 1000",
    SINGLES: "Edge, single events over 64 connections",
    WORKER: "Worker, from a full topic into ClickHouse",
    END_TO_END: "The whole way, everything at work at the same time",
}
BROKER = "broker (in no sum)"
STORING = "worker and ClickHouse"
WHOLE = "edge, worker and ClickHouse"
# The engine removes what was dropped a moment later; that must not meet whoever has the next turn.
_CLEAN_UP_S = 1.0


class Shape(Struct, frozen=True, kw_only=True):
    """How events come in. `events` in a request: 0 for one alone, by /track. `requests` of one burst."""

    name: str
    part: int
    path: str
    events: int
    connections: int
    requests: int

    def load_plan(self, build: Installation) -> LoadPlan:
        return LoadPlan(
            port=build.ports["edge"],
            path=self.path,
            key=build.key,
            events=self.events,
            connections=self.connections,
            requests=self.requests,
        )


SHAPES = (
    Shape(name="batches", part=BATCHES, path="/v1/analytics/batch", events=1000, connections=16, requests=200),
    Shape(name="single events", part=SINGLES, path="/v1/analytics/track", events=0, connections=64, requests=6000),
)


def needs_worker(parts: Sequence[int]) -> bool:
    return WORKER in parts or END_TO_END in parts


def shapes_of(parts: Sequence[int]) -> list[Shape]:
    """Those whose loads the parts need."""
    return [
        shape for shape in SHAPES if {shape.part, WORKER} & set(parts) or (END_TO_END in parts and shape is SHAPES[0])
    ]


def take_turn(builds: Mapping[Side, Installation], order: Sequence[Side], parts: Sequence[int]) -> dict[Side, Prices]:
    """What an event costs in each build: (part, figure) -> CPU microseconds. `order` is gone there and back."""
    prices: dict[Side, dict[tuple[int, str], float]] = {side: {} for side in builds}
    there_and_back = [*order, *reversed(order)]
    for shape in SHAPES:
        if shape.part in parts or WORKER in parts:
            for side, spent in _in_two_steps(builds, there_and_back, shape).items():
                prices[side] |= prices_in_two_steps(shape, spent)
    if END_TO_END in parts:
        for side, spent in _at_once(builds, there_and_back, SHAPES[0]).items():
            prices[side] |= prices_at_once(SHAPES[0], spent)
    return {
        side: {key: found[key] for key in sorted(found, key=lambda key: key[0]) if key[0] in parts}
        for side, found in prices.items()
    }


class Spent(Struct):
    """CPU seconds by process in each stage, and the events that they were spent on."""

    events: int = 0
    burst: Counter[str] = field(default_factory=Counter)
    drain: Counter[str] = field(default_factory=Counter)
    merge: Counter[str] = field(default_factory=Counter)


def prices_in_two_steps(shape: Shape, spent: Spent) -> dict[tuple[int, str], float]:
    """Of a burst, and of a drain where there was one; microseconds an event."""
    us = 1e6 / spent.events
    edge = spent.burst["edge"] * us
    prices = {
        (shape.part, f"{shape.name}: edge"): edge,
        (shape.part, f"{shape.name}: {BROKER}"): spent.burst["kafka"] * us,
    }
    if spent.drain:
        worker, inserts, merge = (
            spent.drain["worker"] * us,
            spent.drain["clickhouse"] * us,
            spent.merge["clickhouse"] * us,
        )
        drained = {
            "worker": worker,
            "ClickHouse, inserts": inserts,
            "ClickHouse, one merge": merge,
            STORING: worker + inserts + merge,
            BROKER: spent.drain["kafka"] * us,
            WHOLE: edge + worker + inserts + merge,
        }
        prices |= {(WORKER, f"{shape.name}: {name}"): price for name, price in drained.items()}
    return prices


def prices_at_once(shape: Shape, spent: Spent) -> dict[tuple[int, str], float]:
    us = 1e6 / spent.events
    clickhouse = (spent.drain["clickhouse"] + spent.merge["clickhouse"]) * us
    whole = {"edge": spent.drain["edge"] * us, "worker": spent.drain["worker"] * us, "ClickHouse": clickhouse}
    whole |= {WHOLE: sum(whole.values()), BROKER: spent.drain["kafka"] * us}
    return {(END_TO_END, f"{shape.name}: {name}"): price for name, price in whole.items()}


def _in_two_steps(builds: Mapping[Side, Installation], order: Sequence[Side], shape: Shape) -> dict[Side, Spent]:
    """A burst while the worker is held, then the drain of it; at the end one merge of all."""
    spent = {side: Spent() for side in builds}
    for side in order:
        build, own = builds[side], spent[side]
        with _others_held(builds, side):
            with build.held(["worker"]):
                start = build.usage()
                own.events += build.loads[shape.name].send()
                accepted = build.usage()
            own.burst += _between(start, accepted)
            if build.has_worker:
                build.wait_for_rows(own.events)
                own.drain += _between(accepted, build.usage())
    _merge(builds, order, spent)
    return spent


def _at_once(builds: Mapping[Side, Installation], order: Sequence[Side], shape: Shape) -> dict[Side, Spent]:
    """A burst while the worker is at work; all of it counts as its drain."""
    spent = {side: Spent() for side in builds}
    for side in order:
        build, own = builds[side], spent[side]
        with _others_held(builds, side):
            start = build.usage()
            own.events += build.loads[shape.name].send()
            build.wait_for_rows(own.events)
            own.drain += _between(start, build.usage())
    _merge(builds, order, spent)
    return spent


@contextmanager
def _others_held(builds: Mapping[Side, Installation], side: Side) -> Iterator[None]:
    """What the other build's services do while they have nothing to do would be in the way of this one's."""
    with ExitStack() as held:
        for other in builds.keys() - {side}:
            held.enter_context(builds[other].held())
        yield


def _merge(builds: Mapping[Side, Installation], order: Sequence[Side], spent: Mapping[Side, Spent]) -> None:
    sides = [side for side in dict.fromkeys(order) if builds[side].has_worker]
    for side in sides:
        start = builds[side].usage()
        builds[side].merge_once()
        spent[side].merge += _between(start, builds[side].usage())
    for side in sides:
        builds[side].empty()
    if sides:
        time.sleep(_CLEAN_UP_S)


def _between(before: Usage, after: Usage) -> Counter[str]:
    return Counter({name: after.cpu_s[name] - before.cpu_s[name] for name in before.cpu_s})
