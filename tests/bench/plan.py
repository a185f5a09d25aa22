"""How long everything takes: the full run, the quick one, and what `--seconds` makes of them."""

from msgspec import Struct


class Plan(Struct, frozen=True, kw_only=True):
    """Times in seconds; counts are of events where nothing else is said."""

    quick: bool
    sustained_s: float
    turns: int
    turn_s: float
    turn_warm_up_s: float
    warm_up_s: float
    step_s: float
    half_load_s: float
    capacity_s: float
    worker_batch_events: int
    worker_single_events: int
    disk_batches: int
    index_sizes: tuple[int, ...]


def make_plan(quick: bool, seconds: float) -> Plan:
    """`seconds` is what the highest rate must hold for; everything else follows from it."""
    if quick:
        return Plan(
            quick=True,
            sustained_s=min(seconds, 10),
            turns=2,
            turn_s=2,
            turn_warm_up_s=0.5,
            warm_up_s=1.5,
            step_s=8,
            half_load_s=30,
            capacity_s=5,
            worker_batch_events=1_500_000,
            worker_single_events=200_000,
            disk_batches=100,
            index_sizes=(1_000_000, 10_000_000),
        )
    return Plan(
        quick=False,
        sustained_s=seconds,
        turns=5,
        turn_s=max(2, seconds / 20),
        turn_warm_up_s=0.5,
        warm_up_s=3,
        step_s=max(10, seconds / 3),
        half_load_s=10 * seconds,
        capacity_s=max(5, seconds / 6),
        worker_batch_events=4_000_000,
        worker_single_events=800_000,
        disk_batches=500,
        index_sizes=(1_000_000, 10_000_000, 50_000_000),
    )
