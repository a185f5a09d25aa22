"""The pages of docs/reference say what the code says."""

import pytest

from services.contract.api.errors import ErrorCode
from tests.support.reference import REFERENCE, pages

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_up_to_date(name: str) -> None:
    path = REFERENCE / name
    written = path.read_text(encoding="utf-8") if path.exists() else ""
    assert written == PAGES[name], f"docs/reference/{name} is stale: run `make docs`"


def test_there_are_no_other_pages() -> None:
    assert {path.name for path in REFERENCE.glob("*.md")} == set(PAGES), "run `make docs`"


def test_pages_hold_what_they_are_about() -> None:
    """A page that is written and compared by the same code could agree and be empty."""
    assert all(f"`{code.code}`" in PAGES["errors.md"] for code in ErrorCode)
    assert "| `HEADRACE_KAFKA_PARTITIONS` | `8` | ≥ 1 and ≤ 1,024 |" in PAGES["settings.md"]
    assert "## `headrace dead-letters replay`" in PAGES["cli.md"]
    assert "## `POST /v1/analytics/query/retention`" in PAGES["api.md"]
    edge, _, others = PAGES["metrics.md"].partition("## Worker")
    assert "`headrace_edge_events_total` | counter | `call`, `result`" in edge
    assert "headrace_worker_lag_records" not in edge
    assert "headrace_worker_lag_records" in others
