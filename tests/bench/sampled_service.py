"""`python -m tests.bench.sampled_service FILE edge|worker|query`: a service, its stacks by CPU time written to FILE.

One line a stack, outermost frame first, microseconds last, as flame graph tools read it. SIGRTMIN starts
counting again, SIGRTMIN+1 writes.
"""

import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from services.cli.app import main
from tests.bench.cpu_sampler import CpuSampler

BEGIN = signal.SIGRTMIN
WRITE = signal.SIGRTMIN + 1
_ROOT = f"{Path(__file__).resolve().parents[2]}/"


class Stacks:
    def __init__(self) -> None:
        self._seconds: Counter[tuple[str, ...]] = Counter()
        self._names: dict[tuple[str, str], str] = {}

    def take(self, frame: FrameType | None, seconds: float) -> None:
        names = []
        while frame is not None:
            code = frame.f_code
            names.append(self._name_of(code.co_filename, code.co_name))
            frame = frame.f_back
        self._seconds[tuple(names)] += seconds  # type: ignore[assignment]

    def _name_of(self, file: str, function: str) -> str:
        name = self._names.get((file, function))
        if name is None:
            short = file.rpartition("/site-packages/")[2].removeprefix(_ROOT)
            short = short.rpartition("/lib/python3.11/")[2]
            name = self._names[file, function] = f"{function} ({short})"
        return name

    def clear(self, number: int, frame: FrameType | None) -> None:
        self._seconds.clear()

    def write(self, path: Path) -> None:
        lines = [f"{';'.join(reversed(names))} {s * 1e6:.0f}\n" for names, s in list(self._seconds.items())]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(lines))
        partial.replace(path)


if __name__ == "__main__":
    file = Path(sys.argv.pop(1))
    stacks = Stacks()
    signal.signal(BEGIN, stacks.clear)
    signal.signal(WRITE, lambda *_: stacks.write(file))
    CpuSampler(stacks.take).start()
    main()
