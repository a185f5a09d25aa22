"""From what happened to figures, bars and pages."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.load.figures import Happened, make_report, parted, recovery
from tests.load.intervals import cut
from tests.load.kills import Kill
from tests.load.plan import Asked, Gone, Plan, Sent, Told
from tests.load.probes import Probe
from tests.load.report import print_report, write_report
from tests.load.soak import figures, table
from tests.load.store import StoreMoment
from tests.load.usage import Moment, cores_used, used_bytes
from tests.load.verify import Verdict, compare

_START = 1000.0
_SECONDS = 100.0


def sent(answered_after: float = 0.1, requests: int = 100, events: int = 50) -> Sent:
    """A request a second, all but the answers as they should be."""
    due = _START + np.arange(requests, dtype=np.float64)
    return Sent(
        kind=np.zeros(requests, np.uint8),
        first=np.arange(requests, dtype=np.uint64) * np.uint64(events),
        events=np.full(requests, events, np.uint32),
        due=due,
        answered=due + answered_after,
        tries=np.ones(requests, np.uint32),
    )


def happened(probes: list[Probe], kills: list[Kill], verdict: Verdict) -> Happened:
    plan = Plan(edges=[], queries=[], key="", query_key="", rate=50, seconds=_SECONDS, run=0)
    told = Told(numbers=5000, started_at=_START, asked=[Asked("trends", _START + 50, 0.2, 200)])
    moments = [Moment(_START + t, {"edge-1": t * 0.5}, {"edge-1": 70.0 + t}) for t in range(0, 100, 2)]
    return Happened(
        plan=plan,
        warm_up_s=10,
        sent=sent(),
        told=told,
        probes=probes,
        kills=kills,
        moments=moments,
        drained_s=1.0,
        verdict=verdict,
    )


def verdict(lost: int = 0, doubled: int = 0) -> Verdict:
    return Verdict(accepted=5000, stored=5000, lost=lost, doubled=doubled, foreign=0, unanswered=0, twice_for_a_while=0)


def probes(waited_s: float = 0.5) -> list[Probe]:
    return [Probe(_START + t, _START + t + waited_s) for t in range(100)]


def test_a_run_without_fault_passes() -> None:
    report = make_report(happened(probes(), [], verdict()), {"at": "now"}, {})
    assert report.passed
    assert report.accepted_s == pytest.approx(50)
    assert report.requests["batches"].ms["p99"] == pytest.approx(100, abs=0.2)
    assert report.visible_ms["p99"] == pytest.approx(500, abs=0.2)
    assert report.containers["edge-1"].cores == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("of", "bar"),
    [
        (happened(probes(), [], verdict(lost=1)), "events lost"),
        (happened(probes(), [], verdict(doubled=1)), "events doubled"),
        (happened(probes(2.5), [], verdict()), "2xx to visible, p99 ms"),
        (happened([*probes(), Probe(_START + 50, None)], [], verdict()), "probes that no query showed"),
    ],
)
def test_what_is_wrong_misses_its_bar(of: Happened, bar: str) -> None:
    report = make_report(of, {"at": "now"}, {})
    assert not report.passed
    assert bar in [one.name for one in report.bars if not one.met]


def test_probes_shortly_after_a_kill_are_told_apart() -> None:
    kills = [Kill("worker-1", _START + 30, _START + 33)]
    calm, apart = parted(probes(), kills, _START, _START + _SECONDS)
    assert [p.accepted - _START for p in apart] == list(range(30, 91))
    assert len(calm) == 39


def test_recovery_is_when_nothing_waits_long_any_more() -> None:
    kill = Kill("worker-1", _START + 30, _START + 33)
    late = [Probe(_START + 31, _START + 40), Probe(_START + 35, _START + 41), Probe(_START + 45, _START + 45.5)]
    assert recovery(kill, late, _START).fresh_s == pytest.approx(11)
    assert recovery(kill, [Probe(_START + 31, None)], _START).fresh_s == float("inf")
    assert recovery(kill, probes(), _START).fresh_s == 0


def test_the_comparison_finds_lost_doubled_and_foreign_events() -> None:
    mine = sent(requests=4, events=5)
    mine.answered[3] = np.nan
    gone = [Gone("leaver", "id", (20, 22))]
    stored = [*range(10), 11, 12, 13, 14, 0, 21, 99]  # 10 is lost, 0 is there twice, 21 was deleted, 99 is nobody's
    found = compare(mine, 22, gone, np.array(stored, np.uint64))
    assert (found.accepted, found.lost, found.doubled, found.foreign) == (15, 1, 1, 1)
    assert (found.unanswered, found.undeleted, found.good) == (5, 1, False)


def test_cores_count_on_after_a_container_began_again() -> None:
    moments = [Moment(0, {"edge": 10.0}, {}), Moment(2, {"edge": 12.0}, {}), Moment(4, {"edge": 1.0}, {})]
    assert cores_used(moments, 0, 4) == {"edge": pytest.approx(0.75)}


@pytest.mark.parametrize("name", ["inactive_file", "total_inactive_file"])
def test_memory_leaves_out_pages_of_files(name: str) -> None:
    assert used_bytes({"usage": 100, "stats": {name: 30}}) == 70


def test_the_report_is_written_for_people_and_programs(tmp_path: Path) -> None:
    kills = [Kill("worker-1", _START + 30, _START + 33)]
    report = make_report(happened(probes(), kills, verdict()), {"at": "now"}, {"command": "--kill"})
    write_report(report, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["verdict"]["accepted"] == 5000
    page = (tmp_path / "report.html").read_text()
    assert "Seconds from 2xx to visible" in page
    console = Console(width=130, record=True)
    print_report(report, console)
    assert "worker-1 killed at 30 s" in console.export_text()


def test_a_long_run_is_cut_into_intervals() -> None:
    store = [StoreMoment(_START + t, 1000 * (t + 1), 50_000 * (t + 1), 5, 0) for t in range(0, 100, 5)]
    rows = cut(happened(probes(), [], verdict()), store, 3)
    assert [row.begins_s for row in rows] == [10, 40, 70]
    assert [row.bytes_an_event for row in rows] == [50, 50, 50]
    assert rows[1].query_ms == {"trends": 200}
    assert figures(rows)["query, ms, trends"] == [None, 200, None]
    assert table(rows).row_count == len(figures(rows))
