"""Of a name that stands twice the first counts, on all levels; text without one stays as it is."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.contract.repeated_names import first_members, first_of_each_name, readable_object

NAMES = st.sampled_from(["a", "b", '":', "\\", "ä", ""])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["1", "-0", "1e400", "123456789012345678901234567890", "null", '"x"', '"\\":"', '"{\\"a\\":1}"']),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda texts: f"[{','.join(texts)}]"),
        st.tuples(st.lists(st.tuples(NAMES, inner), max_size=4), st.sampled_from([":", " :", ": ", "\n:\t"])).map(
            lambda given: "{" + ",".join(f"{json.dumps(name)}{given[1]}{text}" for name, text in given[0]) + "}"
        ),
    ),
    max_leaves=12,
)


def read(text: str, repeats: list[str]) -> Any:
    def first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                repeats.append(name)
            found.setdefault(name, value)
        return found

    return json.loads(text, object_pairs_hook=first, parse_float=str, parse_int=str)


@given(VALUES)
@example('{"a":1,"\\u0061":2}')
@example('{"a":{"b":1},"c":[{"b":2,"b":3}]}')
@example('{"a":"\\":","a":2}')
@example('{"a" :1,"a":2}')
@example('{"a":1,"a":2,"c":"\\u003a"}')
@example('{"a":1,"a":2,"c":"\\u003A"}')
@example('{"a":[{"b":1}],"c":"\\":","a":2}')
def test_each_name_once(text: str) -> None:
    repeats: list[str] = []
    wanted = read(text, repeats)
    answer = first_of_each_name(text.encode()).decode()
    left: list[str] = []
    assert read(answer, left) == wanted
    assert not left
    if not repeats:
        assert answer == text
    if isinstance(wanted, dict):
        members = first_members(text.encode())
        assert {name: read(bytes(value).decode(), []) for name, value in members.items()} == wanted


def test_a_number_of_any_length_is_readable() -> None:
    """Python makes no integer of more than 4,300 digits."""
    text = b'{"a":' + b"9" * 5000 + b"}"
    assert readable_object(text) == first_of_each_name(text) == text
