"""A partition's log loses its end under several edges; each tells of what it was told is kept, exactly."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.lost_end import Log, NotedEnd

appends = st.tuples(st.just("append"), st.integers(0, 2), st.sampled_from([0, 1, 7, 199, 200, 3000]))
looks = st.tuples(st.just("look"), st.integers(0, 2), st.just(0))


@given(st.lists(appends | looks), st.integers(1, 12), st.lists(appends | looks), st.integers(200, 60_000))
def test_each_edge_tells_of_what_it_has_lost(
    before: list[tuple[str, int, int]], removed: int, after: list[tuple[str, int, int]], away_ms: int
) -> None:
    log, edges = Log(), [NotedEnd() for _ in range(3)]
    _do(log, edges, before)
    assert [edge.told for edge in edges] == [[], [], []]
    former = log.records[:]
    log.cut(removed, away_ms)
    begin = len(log.records)
    _do(log, edges, after)
    for _ in range(3):
        for edge in edges:
            log.look(edge)
    for number, edge in enumerate(edges):
        own = [i for i, (owner, _) in enumerate(former) if owner == number and i >= begin]
        told = [i for part in edge.told for i in part]
        assert told == list(range(begin, own[-1] + 1 if own else begin))
    for edge in edges:
        told_before = edge.told[:]
        log.append(0, edge, 3000)
        log.look(edge)
        log.look(edge)
        assert edge.told == told_before


def _do(log: Log, edges: list[NotedEnd], steps: list[tuple[str, int, int]]) -> None:
    for what, number, ms in steps:
        if what == "append":
            log.append(number, edges[number], ms)
        else:
            log.look(edges[number])
