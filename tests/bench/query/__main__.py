"""`python -m tests.bench.query`: build the history once, ask, print a table, write one JSON file."""

import argparse
import os
import platform
from pathlib import Path

import msgspec
from rich.console import Console

from tests.bench.query.data import FRESH_PARTS, Built, open_data
from tests.bench.query.history import History
from tests.bench.query.measure import Measuring, Plan
from tests.bench.query.queries import QUERIES
from tests.bench.query.results import Results, print_results

_THREADS = 2


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    chosen = tuple(q for q in QUERIES if not options.only or any(word in q.name for word in options.only))
    if not chosen:
        console.print(f"no query's name has {options.only}; there are {', '.join(q.name for q in QUERIES)}")
        return 2
    history = History(options.events, options.seed)
    directory = options.data / f"{history.events}"

    def say(text: str) -> None:
        console.print(text, highlight=False)

    with open_data(directory, history, say, options.fresh_parts) as data:
        built = msgspec.json.decode((directory / "built.json").read_bytes(), type=Built)
        results = Results(
            machine=_machine(data.client.rows("SELECT version()")[0][0]),
            events=history.events,
            bytes_on_disk=built.bytes_on_disk,
            build_s=built.seconds,
        )
        plan = Plan(chosen, options.runs, _THREADS, not options.without_duckdb)
        Measuring(data, plan, results, say).run()
    print_results(results, Console(width=140))
    results.write(options.out)
    say(f"written to {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.query", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000, help="size of the history (default 10 million)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path(".data/bench-query"), help="kept between runs")
    parser.add_argument("--only", action="append", help="queries whose name has this word; may be repeated")
    parser.add_argument("--runs", type=int, default=7, help="warm runs of each (default 7)")
    parser.add_argument(
        "--fresh-parts",
        type=int,
        default=FRESH_PARTS,
        help=f"unmerged parts of the asked month (default {FRESH_PARTS})",
    )
    parser.add_argument("--without-duckdb", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("bench-query.json"))
    return parser


def _machine(engine: str) -> dict[str, str]:
    processor = platform.processor() or platform.machine()
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    if names:
        processor = f"{len(names)} x {names[0].partition(':')[2].strip()}"
    return {
        "machine": processor,
        "load average at the start": f"{os.getloadavg()[0]:.1f} (above 1, read CPU instead of times)",
        "python": platform.python_version(),
        "engine": f"ClickHouse {engine} (the development server)",
    }


if __name__ == "__main__":
    raise SystemExit(main())
