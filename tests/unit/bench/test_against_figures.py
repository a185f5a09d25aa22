"""The comparison of two builds: order of the turns, medians, ratio and spread, and what may be asked for."""

import pytest

from tests.bench.against.figures import SIDES, compare, compare_all, order_of, parse_parts
from tests.bench.against.turn import (
    BATCHES,
    END_TO_END,
    PARTS,
    SHAPES,
    SINGLES,
    WORKER,
    Spent,
    needs_worker,
    prices_at_once,
    prices_in_two_steps,
    shapes_of,
)


def test_the_builds_take_turns_in_going_first() -> None:
    assert [order_of(turn)[0] for turn in range(4)] == ["base", "this", "base", "this"]
    assert all(sorted(order_of(turn)) == sorted(SIDES) for turn in range(4))


def test_even_drift_cancels_within_a_turn() -> None:
    """There and back: whoever goes first also goes last."""
    order = order_of(0)
    cost = dict.fromkeys(SIDES, 0.0)
    for moment, side in enumerate([*order, *reversed(order)]):
        cost[side] += 10 + 0.5 * moment
    assert cost["base"] == cost["this"]


def test_the_ratio_is_of_the_medians_and_not_of_the_means() -> None:
    figure = compare(1, "edge", [10, 10, 10, 10, 1000], [11, 11, 11, 11, 11])
    assert (figure.base_median, figure.this_median) == (10, 11)
    assert figure.ratio == pytest.approx(1.1)


def test_the_spread_is_the_middle_half_of_the_turns_own_ratios() -> None:
    figure = compare(1, "edge", [10, 20, 10, 20, 10], [9, 20, 11, 24, 13])
    assert (figure.quarter, figure.middle, figure.three_quarters) == pytest.approx((1.0, 1.1, 1.2))


def test_one_turn_is_its_own_spread() -> None:
    figure = compare(1, "edge", [4], [5])
    assert figure.ratio == figure.quarter == figure.middle == figure.three_quarters == 1.25


@pytest.mark.parametrize(("base", "this"), [([], []), ([1.0], []), ([1.0], [1.0, 2.0])])
def test_turns_without_a_pair_are_no_comparison(base: list[float], this: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no turns|zip\(\)"):
        compare(1, "edge", base, this)


def test_figures_that_only_one_build_has_are_left_out() -> None:
    turns = [
        {"base": {(2, "edge"): 2.0, (3, "old"): 9.0}, "this": {(2, "edge"): 3.0, (3, "new"): 9.0}},
        {"base": {(2, "edge"): 4.0, (3, "old"): 9.0}, "this": {(2, "edge"): 6.0, (3, "new"): 9.0}},
    ]
    (figure,) = compare_all(turns)  # type: ignore[arg-type]
    assert (figure.part, figure.name, figure.base, figure.this) == (2, "edge", [2.0, 4.0], [3.0, 6.0])


@pytest.mark.parametrize(("text", "parts"), [("1,2,3", [1, 2, 3]), ("3", [3]), (" 2, 1,2 ", [1, 2]), ("4,", [4])])
def test_parts_are_named_with_commas(text: str, parts: list[int]) -> None:
    assert parse_parts(text, PARTS) == parts


@pytest.mark.parametrize("text", ["", ",", "0", "5", "1,x", "-1", "1.5", "1 2"])
def test_other_parts_are_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(ValueError, match="name some of 1,2,3,4"):
        parse_parts(text, PARTS)


@pytest.mark.parametrize(
    ("parts", "worker", "shapes"),
    [
        ([BATCHES], False, ["batches"]),
        ([SINGLES], False, ["single events"]),
        ([BATCHES, SINGLES], False, ["batches", "single events"]),
        ([WORKER], True, ["batches", "single events"]),
        ([END_TO_END], True, ["batches"]),
    ],
)
def test_only_what_the_parts_need_is_started(parts: list[int], worker: bool, shapes: list[str]) -> None:
    assert needs_worker(parts) is worker
    assert [shape.name for shape in shapes_of(parts)] == shapes


def test_prices_of_a_burst_without_a_drain() -> None:
    spent = Spent(events=1000)
    spent.burst.update({"edge": 0.005, "kafka": 0.002, "clickhouse": 0.001})
    assert prices_in_two_steps(SHAPES[0], spent) == pytest.approx(
        {(BATCHES, "batches: edge"): 5.0, (BATCHES, "batches: broker (in no sum)"): 2.0}
    )


def test_prices_of_a_burst_and_its_drain_add_up() -> None:
    spent = Spent(events=1000)
    spent.burst.update({"edge": 0.005, "kafka": 0.002})
    spent.drain.update({"worker": 0.003, "clickhouse": 0.004, "kafka": 0.001})
    spent.merge.update({"clickhouse": 0.002, "worker": 0.001})
    prices = prices_in_two_steps(SHAPES[1], spent)
    assert prices[SINGLES, "single events: edge"] == pytest.approx(5)
    assert prices[WORKER, "single events: worker and ClickHouse"] == pytest.approx(9)
    assert prices[WORKER, "single events: edge, worker and ClickHouse"] == pytest.approx(14)
    assert prices[WORKER, "single events: broker (in no sum)"] == pytest.approx(1)


def test_prices_of_everything_at_the_same_time() -> None:
    spent = Spent(events=1000)
    spent.drain.update({"edge": 0.005, "worker": 0.003, "clickhouse": 0.004, "kafka": 0.001})
    spent.merge.update({"clickhouse": 0.002})
    prices = prices_at_once(SHAPES[0], spent)
    assert prices[END_TO_END, "batches: ClickHouse"] == pytest.approx(6)
    assert prices[END_TO_END, "batches: edge, worker and ClickHouse"] == pytest.approx(14)


def test_what_one_build_has_spent_is_not_the_other_s() -> None:
    one, two = Spent(), Spent()
    one.burst["edge"] += 1
    assert not two.burst
