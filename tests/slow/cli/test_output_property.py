"""Whatever the text is, the tools print one line that no terminal obeys."""

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.printable import printable
from tests.unit.cli.test_output import OBEYED


@given(st.text(st.characters(codec=None), max_size=50))
def test_printable_is_one_line_of_what_shows_itself(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert not OBEYED & set(shown)
    if text.isprintable():
        assert shown == text
