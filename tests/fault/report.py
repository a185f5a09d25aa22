"""The report as a person reads it."""

from rich.console import Console
from rich.table import Table

from tests.fault.run import Report


def print_report(report: Report, console: Console) -> None:
    table = Table("fault", *("injected", "sent", "accepted", "stored", "lost", "doubled", "wrong"))
    table.title = f"{report.scenario}, seed {report.seed}: {'FAILED' if report.failures else 'passed'}"
    for column in table.columns[1:]:
        column.justify = "right"
    for outcome in report.outcomes:
        numbers = (outcome.sent, outcome.accepted, outcome.stored, outcome.lost, outcome.doubled, outcome.wrong)
        times = str(report.injected[outcome.fault]) if outcome.fault in report.injected else ""
        table.add_row(outcome.fault, times, *[f"{number:,}" for number in numbers])
    totals = [sum(column) for column in zip(*[_numbers(o) for o in report.outcomes], strict=True)]
    table.add_section()
    table.add_row("all", str(report.injected.total()), *[f"{number:,}" for number in totals])
    console.print(table)
    accepted = totals[1]
    refusals = report.refusals
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(refusals.by_status.items())) or "none"
    console.print(
        f"load for {report.load_s:.0f} of {report.seconds:.0f} s: {(accepted + report.repeats_sent) / report.load_s:,.0f} "
        f"events/s, {report.repeats_sent / (accepted + report.repeats_sent):.0%} repeats; refused: {statuses}, {refusals.connections} lost connections, "
        f"{refusals.timeouts} time-outs, the longest for {refusals.longest_s:.1f} s; "
        f"{report.answers_watched} answers watched; peak RSS (MiB): {report.peak_rss_mib}"
    )
    for note in report.notes:
        console.print(f"  {note}", highlight=False)
    for failure in report.failures:
        console.print(f"  FAILED: {failure}", style="red", highlight=False)


def _numbers(outcome: object) -> tuple[int, ...]:
    return tuple(getattr(outcome, name) for name in ("sent", "accepted", "stored", "lost", "doubled", "wrong"))
