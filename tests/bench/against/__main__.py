"""`python -m tests.bench.against --base COMMIT`: what an event costs in this tree, beside what it cost in a commit."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console

from services.devstack.child_process import ChildFailedError
from tests.bench.against.build import BuildError, base_build, this_build
from tests.bench.against.figures import Prices, Side, compare_all, order_of, parse_parts
from tests.bench.against.installation import Installation
from tests.bench.against.report import Report
from tests.bench.against.turn import PARTS, TITLES, needs_worker, shapes_of, take_turn
from tests.bench.machine import describe_machine, stolen_since
from tests.bench.stack import ROOT, Stack

_HELP_ONLY = "; ".join(f"{part}: {title}" for part, title in TITLES.items())
_MAX_STOLEN = 0.01


def main(
    base: Annotated[str, typer.Option(help="The commit that this tree is compared with; a branch or tag does, too.")],
    only: Annotated[str, typer.Option(help=f"Parts, with commas between them. {_HELP_ONLY}.")] = "1,2,3",
    turns: Annotated[int, typer.Option(min=1, help="How often each build takes its turn.")] = 10,
    out: Annotated[Path, typer.Option(help="The JSON file.")] = ROOT / ".data" / "bench" / "against.json",
) -> None:
    """Compare what an event costs in this tree and in a commit: two builds in turns on one broker and one engine."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it cleans up as Ctrl-C does
    console = Console(width=None if os.isatty(1) else 140)
    try:
        parts = parse_parts(only, PARTS)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--only") from None
    try:
        report = _compare(base, parts, turns, console)
    except (BuildError, ChildFailedError, RuntimeError) as error:
        console.print(f"bench-against: {error}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(1) from None
    report.write(out)
    report.print(console)
    console.print(f"written: {out}")


def _compare(base: str, parts: Sequence[int], turns: int, console: Console) -> Report:
    this = this_build()
    with Stack() as stack, base_build(base, stack.scratch) as other:
        machine = describe_machine(stack)
        stack.use_second_core()
        with Installation(stack, other, "base") as one, Installation(stack, this, "this") as two:
            builds: dict[Side, Installation] = {"base": one, "this": two}
            for build in builds.values():
                build.start_all(worker=needs_worker(parts))
                for shape in shapes_of(parts):
                    build.prepare_load(shape.name, shape.load_plan(build))
            before = psutil.cpu_times()
            taken = take_turns(builds, parts, turns, console)
            if (stolen := stolen_since(before)) > _MAX_STOLEN:
                stack.notes.append(f"The host kept {stolen:.0%} of the cores' time to itself.")
    return Report(
        base=other.commit,
        this=this.commit,
        turns=turns,
        machine=machine,
        figures=compare_all(taken),
        notes=stack.notes,
    )


def take_turns(
    builds: Mapping[Side, Installation], parts: Sequence[int], turns: int, console: Console
) -> list[dict[Side, Prices]]:
    """The first is thrown away: broker, engine and services are new to their work in it."""
    taken: list[dict[Side, Prices]] = []
    for turn in range(turns + 1):
        started = time.monotonic()
        taken.append(take_turn(builds, order_of(turn), parts))
        name = f"turn {turn} of {turns}" if turn else "warm-up"
        console.print(f"{name}: {time.monotonic() - started:.0f} s")
    return taken[1:]


if __name__ == "__main__":
    typer.run(main)
