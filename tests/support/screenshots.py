"""What `make screenshots` runs: a stack of its own with the shop's clickstream, and a picture of each page to look at."""

import sys
import tempfile
from pathlib import Path

from tests.support.browser import PROGRAM, chromium, windows
from tests.support.console import PAGES, fill, shots
from tests.support.console_queries import QUERY_PAGES, board
from tests.support.pipeline import started_pipeline


def main() -> int:
    """The exit status."""
    if chromium() is None:
        print(f"no Chromium is installed: install one, or set {PROGRAM} to its path", file=sys.stderr)
        return 1
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, started_pipeline(Path(data) / "data", "embedded") as pipeline:
        fill(pipeline)
        with windows(pipeline.base_url) as opened:
            shots(opened, folder, {**PAGES, **QUERY_PAGES, "dashboard": board(pipeline)}, print)
    return 0


if __name__ == "__main__":
    sys.exit(main())
