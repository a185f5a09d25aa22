"""The pages of docs/reference say what the code says."""

import pytest

from services.contract.api.errors import ErrorCode
from tests.support.reference import PAGES, REFERENCE


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: write() for name, write in PAGES.items()}


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_up_to_date(pages: dict[str, str], name: str) -> None:
    path = REFERENCE / name
    written = path.read_text(encoding="utf-8") if path.exists() else ""
    assert written == pages[name], f"docs/reference/{name} is stale: run `make docs`"


def test_there_are_no_other_pages() -> None:
    assert {path.name for path in REFERENCE.glob("*.md")} == set(PAGES), "run `make docs`"


def test_pages_hold_what_they_are_about(pages: dict[str, str]) -> None:
    """A page that is written and compared by the same code could agree and be empty."""
    assert all(f"`{code.code}`" in pages["errors.md"] for code in ErrorCode)
    assert "| `HEADRACE_KAFKA_PARTITIONS` | `8` | ≥ 1 and ≤ 1,024 |" in pages["settings.md"]
    assert "## `headrace dead-letters replay`" in pages["cli.md"]
    assert "## `POST /v1/analytics/query/retention`" in pages["api.md"]
    edge, _, others = pages["metrics.md"].partition("## Worker")
    assert "`headrace_edge_events_total` | counter | `call`, `result`" in edge
    assert "headrace_worker_lag_records" not in edge
    assert "headrace_worker_lag_records" in others
