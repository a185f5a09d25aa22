"""Things that are compared take turns: a machine that changes its speed changes it for all of them."""

from collections.abc import Callable, Mapping, Sequence

from tests.bench.loading import Measured


def in_turns(
    measures: Mapping[str, Callable[[], Measured]], rounds: int, before: Callable[[], object] | None = None
) -> dict[str, list[Measured]]:
    """The results of each, in the order of the rounds; `before` is called at the beginning of a round."""
    results: dict[str, list[Measured]] = {name: [] for name in measures}
    for _ in range(rounds):
        if before is not None:
            before()
        for name, measure in measures.items():
            results[name].append(measure())
    return results


def best(turns: Sequence[Measured]) -> Measured:
    """The turn with the least CPU time of the edge: what disturbs a turn only adds to it."""
    return min(turns, key=lambda turn: turn.cpu_us["edge"])
