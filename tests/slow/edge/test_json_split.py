"""Arrays and objects, taken apart: as a parser does where they are valid, and into the same number of parts where not."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.intake import json_split
from services.edge.intake.json_split import TooManyPartsError, UnbalancedError, split_items, split_members

TEXTS = st.text(st.sampled_from('ab"\\{}[],:\n é😀'), max_size=6)
JSON = st.recursive(
    st.none() | st.integers(-9, 99) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
STYLES = st.tuples(st.booleans(), st.sampled_from([None, 0, 2]))


def written(value: Any, style: tuple[bool, int | None]) -> bytes:
    return json.dumps(value, ensure_ascii=style[0], indent=style[1]).encode()


@given(st.lists(JSON), STYLES, st.integers(1, 40))
def test_an_array_falls_into_its_items(items: list[Any], style: tuple[bool, int | None], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_split, "_CHUNK_BYTES", chunk)
        assert [json.loads(part) for part in split_items(written(items, style), 1000)] == items


@given(st.dictionaries(TEXTS, JSON), STYLES, st.integers(1, 40))
def test_an_object_falls_into_its_members(value: dict[str, Any], style: tuple[bool, int | None], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_split, "_CHUNK_BYTES", chunk)
        members = split_members(written(value, style), 1000)
        assert {name: json.loads(text) for name, text in members.items()} == value


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"NaN",
        b"x y",
        b"{'a': 1}",
        b'"\\ud83d"',
        b'"\xff"',
        b"[" * 5000 + b"]" * 5000,
        b'{"a":[}]',
        b"1e400",
        b"\0",
        b":",
    ],
    ids=lambda bad: bad[:12].hex() or "nothing",
)
def test_what_is_no_json_is_a_part_like_others(bad: bytes) -> None:
    assert split_items(b'[{"a":1}, ' + bad + b' ,"x"]', 10) == [b'{"a":1}', bad, b'"x"']


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_a_stray_backslash_hides_no_bracket_wherever_the_text_is_cut(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(json_split, "_CHUNK_BYTES", chunk)
    assert split_items(rb'[{"a":1\},1\,["x"\],"y"]', 10) == [rb'{"a":1\}', b"1\\", rb'["x"\]', b'"y"']


@pytest.mark.parametrize(
    "text",
    [b"", b"[", b"[1", b'["]', b"[1]]", b"[1] x", b"{]}", b"[1}, 2", b'{"a": "b}', b"]", b'["\\"]', b"1, 2", b"[[]"],
    ids=lambda text: text.decode() or "nothing",
)
def test_what_does_not_end_where_it_should_is_not_taken_apart(text: bytes) -> None:
    with pytest.raises(UnbalancedError):
        split_items(text, 10)


def test_reading_stops_at_the_limit() -> None:
    assert split_items(b"[1,2,3]", 3) == [b"1", b"2", b"3"]
    for text in (b"[1,2,3,4]", b"[1,2,3," + b"," * 1000 + b'"never read: neither quote nor bracket ends'):
        with pytest.raises(TooManyPartsError):
            split_items(text, 3)


def test_of_a_name_that_stands_twice_the_last_counts_and_what_is_no_member_is_left_out() -> None:
    text = b'{"a":1, "\\u0061" : 2,"b\\ud800":3, nothing, 4, "c":[5,{"d":6}] ,"\xff":7, "e" 8}'
    assert split_members(text, 20) == {"a": b"2", "c": b'[5,{"d":6}]'}


def test_escapes_across_the_borders_of_chunks() -> None:
    rng = random.Random(1)
    for _ in range(300):
        items = ["".join(rng.choice('\\"x,]') for _ in range(rng.randrange(30))) for _ in range(5)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_split, "_CHUNK_BYTES", rng.randrange(1, 9))
            assert [json.loads(part) for part in split_items(json.dumps(items).encode(), 10)] == items
