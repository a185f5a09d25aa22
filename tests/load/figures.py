"""From what happened to the figures of the report: pure computation."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from tests.bench.results import Bar
from tests.load.kills import Kill
from tests.load.plan import KINDS, Asked, Plan, Sent, Told
from tests.load.probes import Probe
from tests.load.usage import Moment, cores_used
from tests.load.verify import Verdict

_POINTS = (50, 90, 99, 99.9)
# After a kill the partitions go to others: what is seen in this time is told apart.
APART_S = 60.0
RECOVERED_WITHIN_S = 45.0
FRESH_S = 2.0
_HELD = 0.97
_BIN_S = 10.0


class Requests(Struct, kw_only=True):
    """Of one kind. `ms`: from when a request was due to its 2xx, whatever tries it took."""

    requests: int
    events: int
    ms: dict[str, float]


class Recovery(Struct, kw_only=True):
    """After a kill: when the container was ready, and when nothing waited longer than FRESH_S any more; seconds."""

    name: str
    at_s: float
    ready_s: float
    fresh_s: float


class Container(Struct, kw_only=True):
    cores: float
    mib: float
    most_mib: float


class Series(Struct, kw_only=True):
    """For plots; `seconds` since the start of the run."""

    seconds: list[float]
    values: dict[str, list[float]]


class Report(Struct, kw_only=True):
    """All that a run has shown. Without the warm-up, but for the verdict, which is of every event."""

    machine: dict[str, str]
    options: dict[str, str]
    asked_s: float
    accepted_s: float
    lowest_s: float
    repeats: int
    requests: dict[str, Requests]
    statuses: dict[int, int]
    unexpected: list[str]
    queries: dict[str, Requests]
    failed_queries: int
    visible_ms: dict[str, float]
    visible_apart_ms: dict[str, float]
    probes: int
    recoveries: list[Recovery]
    drained_s: float
    verdict: Verdict
    containers: dict[str, Container]
    bars: list[Bar] = field(default_factory=list)
    series: dict[str, Series] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return all(bar.met for bar in self.bars) and not self.unexpected


class Happened(Struct, kw_only=True):
    """What the parts of a run have brought home."""

    plan: Plan
    warm_up_s: float
    sent: Sent
    told: Told
    probes: list[Probe]
    kills: list[Kill]
    moments: list[Moment]
    drained_s: float
    verdict: Verdict


def make_report(of: Happened, machine: dict[str, str], options: dict[str, str]) -> Report:
    begin, end = of.told.started_at + of.warm_up_s, of.told.started_at + of.plan.seconds
    rates = accepted_rates(of.sent, begin, end, _BIN_S)
    calm, apart = parted(of.probes, of.kills, begin, end)
    report = Report(
        machine=machine,
        options=options,
        asked_s=of.plan.rate,
        accepted_s=float(np.mean(rates)),
        lowest_s=float(np.min(rates)),
        repeats=of.told.repeats,
        requests=requests_by_kind(of.sent, begin, end),
        statuses=of.told.statuses,
        unexpected=of.told.unexpected,
        queries=queries_by_kind(of.told.asked, begin, end),
        failed_queries=sum(asked.status != 200 for asked in of.told.asked),
        visible_ms=percentiles([p.waited_s for p in calm]),
        visible_apart_ms=percentiles([p.waited_s for p in apart]),
        probes=len(of.probes),
        recoveries=[recovery(kill, of.probes, of.told.started_at) for kill in of.kills],
        drained_s=of.drained_s,
        verdict=of.verdict,
        containers=containers_of(of.moments, begin, end),
        series=series_of(of),
    )
    report.bars = bars_of(report, of.probes)
    return report


def percentiles(seconds: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """In milliseconds."""
    if not len(seconds):
        return {}
    # Of values that are there: between a number and an infinite one there is none.
    values = np.percentile(np.asarray(seconds), _POINTS, method="higher") * 1000
    return {f"p{p:g}": round(float(v), 1) for p, v in zip(_POINTS, values, strict=True)} | {
        "longest": round(float(np.max(np.asarray(seconds))) * 1000, 1)
    }


def accepted_rates(sent: Sent, begin: float, end: float, bin_s: float) -> NDArray[np.float64]:
    """Events a second whose 2xx came, in bins; the last one is left out where it is not whole."""
    bins = max(1, int((end - begin) / bin_s))
    width = min(bin_s, end - begin)
    answered = np.nan_to_num(sent.answered, nan=-1.0)
    counts, _ = np.histogram(answered, bins, (begin, begin + bins * width), weights=sent.events)
    rates: NDArray[np.float64] = counts / width
    return rates


def requests_by_kind(sent: Sent, begin: float, end: float) -> dict[str, Requests]:
    inside = (sent.due >= begin) & (sent.due <= end)
    found = {}
    for number, kind in enumerate(KINDS):
        mine = inside & (sent.kind == number)
        took = (sent.answered - sent.due)[mine]
        found[kind] = Requests(
            requests=int(mine.sum()),
            events=int(sent.events[mine].sum()),
            ms=percentiles(np.nan_to_num(took, nan=np.inf)),
        )
    return found


def queries_by_kind(asked: Sequence[Asked], begin: float, end: float) -> dict[str, Requests]:
    """Those with an answer."""
    inside = [one for one in asked if begin <= one.at <= end and one.status == 200]
    by_kind = {kind: [one.took_s for one in inside if one.kind == kind] for kind in {one.kind for one in inside}}
    return {
        kind: Requests(requests=len(took), events=0, ms=percentiles(took)) for kind, took in sorted(by_kind.items())
    }


def parted(probes: Sequence[Probe], kills: Sequence[Kill], begin: float, end: float) -> tuple[list[Probe], list[Probe]]:
    """Probes of the run that no kill was shortly before, and the others."""
    inside = [p for p in probes if begin <= p.accepted <= end]
    apart = [p for p in inside if any(kill.at <= p.accepted <= kill.at + APART_S for kill in kills)]
    calm = [p for p in inside if p not in apart] if apart else inside
    return calm, apart


def recovery(kill: Kill, probes: Sequence[Probe], started_at: float) -> Recovery:
    """A probe that no query ever showed makes it infinite."""
    late = [p for p in probes if kill.at - FRESH_S <= p.accepted <= kill.at + APART_S and p.waited_s > FRESH_S]
    until = max((float("inf") if p.visible is None else p.visible for p in late), default=kill.at)
    return Recovery(
        name=kill.name, at_s=kill.at - started_at, ready_s=kill.ready - kill.at, fresh_s=max(0.0, until - kill.at)
    )


def containers_of(moments: Sequence[Moment], begin: float, end: float) -> dict[str, Container]:
    inside = [m for m in moments if begin <= m.at <= end]
    cores = cores_used(inside, begin, end)
    found = {}
    for name, used in cores.items():
        mib = [m.mib[name] for m in inside if name in m.mib]
        found[name] = Container(cores=used, mib=median(mib), most_mib=max(mib))
    return found


def bars_of(report: Report, probes: Sequence[Probe]) -> list[Bar]:
    verdict = report.verdict
    bars = [
        Bar(name="events lost", wanted=0, got=verdict.lost, at_most=True),
        Bar(name="events doubled", wanted=0, got=verdict.doubled, at_most=True),
        Bar(name="events that nobody sent", wanted=0, got=verdict.foreign, at_most=True),
        Bar(name="events of requests without a 2xx", wanted=0, got=verdict.unanswered, at_most=True),
        Bar(name="probes that no query showed", wanted=0, got=sum(p.visible is None for p in probes), at_most=True),
        Bar(name="events/s accepted", wanted=_HELD * report.asked_s, got=report.accepted_s),
        Bar(
            name=f"2xx to visible, p99 ms{', but for a minute after kills' if report.recoveries else ''}",
            wanted=FRESH_S * 1000,
            got=report.visible_ms.get("p99", float("inf")),
            at_most=True,
        ),
    ]
    return bars + [
        Bar(name=f"{r.name} killed: all visible again, s", wanted=RECOVERED_WITHIN_S, got=r.fresh_s, at_most=True)
        for r in report.recoveries
    ]


def series_of(of: Happened) -> dict[str, Series]:
    start, seconds = of.told.started_at, of.plan.seconds
    step = max(1.0, seconds / 600)
    rates = accepted_rates(of.sent, start, start + seconds, step)
    shown = [p for p in of.probes if p.visible is not None]
    moments = [m for m in of.moments if m.at >= start]
    names = sorted({name for m in moments for name in m.mib})
    return {
        "rate": Series(seconds=[i * step for i in range(len(rates))], values={"accepted": [float(r) for r in rates]}),
        "visible": Series(
            seconds=[p.accepted - start for p in shown], values={"2xx to visible, s": [p.waited_s for p in shown]}
        ),
        "memory": Series(
            seconds=[m.at - start for m in moments],
            values={name: [m.mib.get(name, 0.0) for m in moments] for name in names},
        ),
        "cores": Series(
            seconds=[m.at - start for m in moments[1:]],
            values={
                name: [cores_used(pair, pair[0].at, pair[1].at).get(name, 0.0) for pair in pairwise(moments)]
                for name in names
            },
        ),
    }
