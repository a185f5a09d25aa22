"""Long parameters in parts."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.long_parameters import _MAX_CHARS, in_short_fields

texts = st.tuples(st.text(max_size=3), st.integers(0, 60_000)).map(lambda pair: pair[0] * (pair[1] // 3))


@given(st.lists(texts, max_size=12) | texts | st.lists(st.integers(0, 2**64 - 1), max_size=5))
def test_parts_are_short_and_together_what_was_given(value: Any) -> None:
    sql, parts = in_short_fields("SELECT {v:T}, {w:T}, {v:T}", {"v": value, "w": 1})
    assert parts.pop("w") == 1
    assert sql.count("{w:T}") == 1
    names = re.findall(r"\{(v\w*):T\}", sql)
    assert names == 2 * list(parts)
    pieces = list(parts.values())
    if isinstance(value, str):
        assert "".join(pieces) == value
        assert all(len(piece) <= _MAX_CHARS for piece in pieces)
    else:
        assert [one for piece in pieces for one in piece] == value
        assert all(len(piece) == 1 or sum(len(str(one)) for one in piece) <= _MAX_CHARS for piece in pieces)
    assert len(pieces) == 1 or sql.count("oncat(") == 2
