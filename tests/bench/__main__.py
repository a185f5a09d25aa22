"""`python -m tests.bench`: all parts in one run, one table, one JSON file, plots where there is a library for them."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import psutil
import typer
from rich.console import Console

from tests.bench import edge_batches, edge_sdks, edge_singles, end_to_end, growth, peers_end_to_end, worker_drain
from tests.bench.machine import describe_machine, stolen_since
from tests.bench.plan import Plan, make_plan
from tests.bench.results import PARTS, Results, print_results
from tests.bench.stack import ROOT, Stack, bench_python

Part = Callable[[Stack, Plan, Results], None]
_PARTS: dict[int, Part] = {
    1: edge_batches.measure,
    2: edge_singles.measure,
    3: worker_drain.measure,
    4: end_to_end.measure,
    5: peers_end_to_end.measure,
    6: growth.measure,
    7: edge_sdks.measure,
}
_MAX_STOLEN = 0.01


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Short runs: some ten minutes, rougher figures.")] = False,
    seconds: Annotated[float, typer.Option(help="How long the highest rate must hold; the other times follow.")] = 60,
    only: Annotated[list[int] | None, typer.Option(help="Only this part, 1 to 7; may be given several times.")] = None,
    no_peers: Annotated[bool, typer.Option("--no-peers", help="Leave the peers out.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for results.json and the plots.")] = ROOT / ".data" / "bench",
) -> None:
    """Measure the ingest path against its limits and its peers."""
    console = Console(width=None if os.isatty(1) else 170)
    plan = make_plan(quick, seconds)
    chosen = [part for part in only or _PARTS if not (no_peers and part == peers_end_to_end.PART)]
    out.mkdir(parents=True, exist_ok=True)
    failed = []
    with Stack() as stack:
        results = Results(machine=describe_machine(stack), plan=msgspec.to_builtins(plan), notes=stack.notes)
        for part in chosen:
            if not _measure(part, stack, plan, results, console):
                failed.append(part)
            results.write(out / "results.json")  # so that a run that is stopped leaves what it has
    print_results(results, console)
    console.print(f"written: {out / 'results.json'}")
    _draw(out, console)
    raise SystemExit(1 if failed else 0)


def _measure(part: int, stack: Stack, plan: Plan, results: Results, console: Console) -> bool:
    started, before = time.monotonic(), psutil.cpu_times()
    console.print(f"{part}. {PARTS[part]} ...")
    try:
        _PARTS[part](stack, plan, results)
    except Exception as error:  # one part that fails must not take the others' figures with it
        console.print_exception(max_frames=4)
        results.notes.append(f"part {part} ended early: {str(error)[:300]}")
        return False
    finally:
        console.print(f"   {time.monotonic() - started:.0f} s")
        if (stolen := stolen_since(before)) > _MAX_STOLEN:
            results.notes.append(f"part {part}: the host kept {stolen:.0%} of the cores' time to itself.")
    return True


def _draw(out: Path, console: Console) -> None:
    python = bench_python()
    if python is None:
        console.print("no plots: .venv-bench is not there (make bench sets it up)")
        return
    command = [python, "-m", "tests.bench.plots", str(out / "results.json"), str(out)]
    subprocess.run(command, check=False, timeout=120)  # noqa: S603


if __name__ == "__main__":
    typer.run(main)
