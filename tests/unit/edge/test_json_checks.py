"""The checks on JSON text: one line, and how deep it is."""

import json

import pytest
from msgspec import Raw

from services.contract.api.errors import ApiError, ErrorCode
from services.edge.intake.json_checks import all_objects, json_object, nesting_levels, one_line


@pytest.mark.parametrize("body", [b"", b"[1]", b'{"a": "\\n"}', '{"é": 1}'.encode(), b"not json at all"])
def test_a_body_of_one_line_is_passed_on_as_it_is(body: bytes) -> None:
    assert one_line(body) is body


def test_a_body_of_many_lines_keeps_its_meaning() -> None:
    value = {"a": ["x\ny", {"b": 1.50}, None], "é": "}\n{"}
    line = one_line(b"\n" + json.dumps(value, indent=4, ensure_ascii=False).encode() + b"\n")
    assert b"\n" not in line
    assert json.loads(line) == value


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"a":\n}', ErrorCode.INVALID_JSON),
        (b'{"a":\n"\xff"}', ErrorCode.INVALID_JSON),
        (b"\xff", ErrorCode.INVALID_JSON),
        (b"\n" + b"[" * 100_000, ErrorCode.TOO_DEEP),
    ],
    ids=["broken", "no UTF-8", "no UTF-8, one line", "deep"],
)
def test_what_cannot_be_put_on_one_line_is_refused(body: bytes, code: ErrorCode) -> None:
    with pytest.raises(ApiError) as refused:
        one_line(body)
    assert refused.value.code is code


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (b"1", 0),
        (b'"[[["', 3),  # an upper bound, as long as that is within the limit
        (b"[]", 1),
        (b"[" * 40 + b"]" * 40, 40),
        (b'{"a":' * 300 + b"1" + b"}" * 300, 300),
        (b"[" + b",".join([b"[{}]"] * 100) + b"]", 3),
        (b'["' + b"[" * 100 + b'"]', 1),
        (b'["\\"' + b"[" * 100 + b'", []]', 2),
        (b'["\\\\", [' + b"[]," * 100 + b"[]]]", 3),
        (b'["\\\\\\"' + b"[" * 100 + b'", {}]', 2),
        (b'["' + b"x" * 300 + b'", ' + b'"", ' * 300 + b"[" * 40 + b"]" * 40 + b"]", 41),
    ],
)
def test_levels_are_counted_outside_strings(text: bytes, levels: int) -> None:
    json.loads(text)
    assert nesting_levels(text) == levels


DEEPEST = b'{"a":' * 32 + b"1" + b"}" * 32
TOO_DEEP = b'{"a":' * 33 + b"1" + b"}" * 33


@pytest.mark.parametrize(
    ("values", "all_are"),
    [
        ([b"{}"], True),
        ([b'{"a":[1]}', b"{}", b'{"b":"[{"}'], True),
        ([b"{}"] * 40 + [b'{"a":[1]}'] * 40, True),  # more brackets than one object may have
        ([DEEPEST, b"{}", DEEPEST], True),
        ([], False),
        ([b""], False),
        ([b"", b"{}"], False),
        ([b"{}", b""], False),
        ([b"{}", b"", b"{}"], False),
        ([b"{}", b"null"], False),
        ([b"[{}]", b"{}"], False),
        ([b"{}", b'"{"'], False),
        ([b"{}", TOO_DEEP], False),
        ([TOO_DEEP, b"{}"], False),
        ([b'{"a":"' + b"[" * 32 + b'"}'], False),  # only a closer look can tell
    ],
)
def test_one_look_at_all_says_no_more_than_one_at_each(values: list[bytes], all_are: bool) -> None:
    raws = [Raw(value) for value in values]
    assert all_objects(raws) is all_are
    if all_are:
        assert [json_object(raw, "properties") for raw in raws] == raws
