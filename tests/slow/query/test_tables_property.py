"""Any text as CSV: read back by a plain reader it is itself, and no formula."""

from hypothesis import given
from hypothesis import strategies as st

from services.contract.api.cohort import CohortResult
from tests.unit.query.test_tables import read


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_any_text_comes_back_and_is_no_formula(texts: list[str]) -> None:
    rows = read("cohort", CohortResult(size=1, people=texts))[1:]
    for (cell,), text in zip(rows, texts, strict=True):
        assert cell in (text, f"'{text}")
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
