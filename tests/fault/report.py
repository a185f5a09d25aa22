"""The report as a person reads it."""

from rich.console import Console
from rich.table import Table

from tests.fault.ledger import Outcome
from tests.fault.load import LONG_AFTER_S
from tests.fault.run import Report


def print_report(report: Report, console: Console) -> None:
    """The table of faults, what clients saw, and what was wrong."""
    console.print(_table(report))
    console.print(_figures(report), highlight=False)
    for note in report.notes:
        console.print(f"  {note}", highlight=False)
    for failure in report.failures:
        console.print(f"  FAILED: {failure}", style="red", highlight=False)


def totals(report: Report) -> Outcome:
    """All faults of a report in one."""
    columns = zip(*map(_numbers, report.outcomes), strict=True) if report.outcomes else [()] * 6
    return Outcome("all", *[sum(column) for column in columns])


def _table(report: Report) -> Table:
    table = Table("fault", *("injected", "seconds", "sent", "accepted", "stored", "lost", "doubled", "wrong"))
    table.title = f"{report.scenario}, seed {report.seed}: {'FAILED' if report.failures else 'passed'}"
    for column in table.columns[1:]:
        column.justify = "right"
    for outcome in report.outcomes:
        done = report.injected.get(outcome.fault)
        shown = (str(done.times), f"{done.seconds:.0f}") if done else ("", "")
        table.add_row(outcome.fault, *shown, *[f"{number:,}" for number in _numbers(outcome)])
    table.add_section()
    times = sum(done.times for done in report.injected.values())
    numbers = _numbers(totals(report))
    table.add_row("all", str(times), f"{report.seconds:.0f}", *[f"{number:,}" for number in numbers])
    return table


def _figures(report: Report) -> str:
    accepted, refusals = totals(report).accepted, report.refusals
    sent = accepted + report.repeats
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(refusals.by_status.items())) or "none"
    return (
        f"load for {report.load_s:.0f} s: {sent / report.load_s:,.0f} events/s, {report.repeats / sent:.0%} "
        f"repeats ({report.repeats_long_after:,} of them {LONG_AFTER_S // 60} minutes later or more); refused: {statuses}, {refusals.connections} lost connections, {refusals.timeouts} time-outs, the "
        f"longest for {refusals.longest_s:.1f} s; {report.answers_watched} answers watched; "
        f"peak RSS (MiB): {', '.join(f'{name} {mib}' for name, mib in report.peak_rss_mib.items())}"
    )


def _numbers(outcome: Outcome) -> tuple[int, ...]:
    return (outcome.sent, outcome.accepted, outcome.stored, outcome.lost, outcome.doubled, outcome.wrong)
