"""Writes the history to Parquet, one file a day, and runs DuckDB over it where an interpreter has it."""

import subprocess
import sys
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import msgspec
from msgspec import Struct

from services.contract.tables import EVENT_COLUMNS, EVENTS, PERSON_IDS
from tests.bench.query.data import Data, Say
from tests.bench.query.history import BEGIN, DAYS, FUNNEL, SINCE, UNTIL
from tests.bench.stack import bench_python

_PEER = Path(__file__).with_name("duckdb_peer.py")
_TIMEOUT_S = 3600


class DuckDbTimes(Struct, frozen=True):
    """By query: `times_ms` each run in order, `cpu_ms` of one run. `peak_memory_bytes` is of the whole process."""

    version: str
    times_ms: dict[str, list[float]]
    cpu_ms: dict[str, float]
    peak_memory_bytes: int


def write_parquet(data: Data, say: Say) -> Path:
    """Once a data directory; as the engine writes it, in the order of the table."""
    folder = data.directory / "parquet"
    done = folder / "done"
    built = (data.directory / "built.json").read_bytes()
    if done.exists() and done.read_bytes() == built:
        return folder
    (folder / "events").mkdir(parents=True, exist_ok=True)
    for day in range(DAYS):
        begin = BEGIN + timedelta(days=day)
        end = begin + timedelta(days=1)
        where = f"timestamp >= '{begin:%F}' AND timestamp < '{end:%F}'"
        _export(data, f"SELECT {', '.join(EVENT_COLUMNS)} FROM {EVENTS} WHERE {where}", folder / f"events/{begin:%F}")
    _export(data, f"SELECT distinct_id, person_id FROM {PERSON_IDS} FINAL", folder / "people")
    done.write_bytes(built)
    say("Parquet written")
    return folder


def run_duckdb(folder: Path, runs: int, threads: int) -> DuckDbTimes | None:
    """None where no interpreter has DuckDB."""
    python = _python()
    if python is None:
        return None
    command = [python, str(_PEER), str(folder), SINCE.isoformat(), UNTIL.isoformat(), ",".join(FUNNEL)]
    done = subprocess.run(  # noqa: S603 (our own program)
        [*command, str(runs), str(threads)], stdout=subprocess.PIPE, check=True, timeout=_TIMEOUT_S
    )
    return msgspec.json.decode(done.stdout, type=DuckDbTimes)


def _python() -> str | None:
    if find_spec("duckdb") is not None:
        return sys.executable
    python = bench_python()
    if python is None or subprocess.run([python, "-c", "import duckdb"], capture_output=True).returncode:  # noqa: S603
        return None
    return python


def _export(data: Data, sql: str, path: Path) -> None:
    answer = data.client.run(f"{sql} FORMAT Parquet", max_memory_usage=0, output_format_parquet_string_as_string=1)
    path.with_suffix(".parquet").write_bytes(answer.content)
