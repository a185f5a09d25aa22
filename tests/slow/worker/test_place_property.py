"""Where reading goes on, whatever happened to the log: nothing that it still holds is passed over."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.test_place import Log, Worker

STEPS = st.lists(
    st.tuples(st.sampled_from(["append", "cut", "forget", "work"]), st.integers(1, 40)), min_size=1, max_size=40
)


@given(STEPS)
def test_what_the_log_holds_is_stored_whatever_happened_to_it(steps: list[tuple[str, int]]) -> None:
    log, worker = Log(), Worker()
    for name, count in [*steps, ("work", 10_000)]:
        if name == "work":
            worker.work(log, count)
        else:
            getattr(log, name)(count)
        assert len(worker.metadata) < 1000
    assert set(log.texts[log.start :]) <= worker.stored


@given(STEPS)
def test_what_is_named_was_there_and_was_never_read(steps: list[tuple[str, int]]) -> None:
    """Without cuts, what is named is exactly what was not read."""
    log, worker = Log(), Worker()
    worker.work(log, 0)
    named: set[str] = set()
    for name, count in [*steps, ("work", 10_000)]:
        if name == "work":
            for loss in worker.work(log, count).losses:
                named |= set(log.texts[loss.begin : loss.end])
        elif name != "cut":
            getattr(log, name)(count)
    assert named == set(log.texts) - worker.stored
