"""The checks on JSON text: one line, and how deep it is."""

import json

import msgspec
import pytest
from msgspec import Raw

from services.contract.api.errors import ApiError
from services.edge.intake.json_checks import (
    all_objects,
    json_object,
    may_have_one_of,
    may_hold_large_number,
    nesting_levels,
    one_line,
)


@pytest.mark.parametrize("body", [b"", b"[1]", b'{"a": "\\n"}', '{"é": 1}'.encode(), b"not json at all"])
def test_a_body_of_one_line_is_passed_on_as_it_is(body: bytes) -> None:
    assert one_line(body) is body


def test_a_body_of_many_lines_keeps_its_meaning() -> None:
    value = {"a": ["x\ny", {"b": 1.50}, None], "é": "}\n{"}
    line = one_line(b"\n" + json.dumps(value, indent=4, ensure_ascii=False).encode() + b"\n")
    assert b"\n" not in line
    assert json.loads(line) == value


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"a":\n}', msgspec.DecodeError),
        (b'{"a":\n"\xff"}', UnicodeDecodeError),
        (b"\xff", UnicodeDecodeError),
        (b"\n" + b"[" * 100_000, RecursionError),
    ],
    ids=["broken", "no UTF-8", "no UTF-8, one line", "deep"],
)
def test_what_cannot_be_put_on_one_line_is_refused(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        one_line(body)


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
    assert all_objects(raws, b"\n".join(values)) is all_are
    if all_are:
        assert [json_object(raw, "properties") for raw in raws] == raws


@pytest.mark.parametrize(
    ("number", "is_double"),
    [
        ("1e308", True),
        ("1.7976931348623157e308", True),
        ("1.7976931348623159e308", False),
        ("-1e309", False),
        ("1E+400", False),
        ("1e0000309", False),
        ("1e0000308", True),
        ("1e-400", True),
        ("0e400", True),
        ("0.000e999999", True),
        ("0.0001e312", True),
        ("0.0001e313", False),
        ("123456789e300", True),
        ("123456789e301", False),
        ("-0.00000000000012E+322", False),
        ("12345678901234567890e+290", False),
        ("12345678901234567890e+289", True),
        ("9" * 308, True),
        ("9" * 309, False),
        ("1" + "0" * 309 + ".5", False),
        ("1" + "0" * 309 + "e-10", True),
        ("-1" + "0" * 309 + ".5E-3", True),
        ("1" + "0" * 5000 + "e-4900", True),
        ("1" + "0" * 5000 + "e-4600", False),
        ("1" + "0" * 220 + "e99", False),
        ("1" + "0" * 220 + "e80", True),
        ("9" * 100_000, False),
        ("0." + "9" * 100_000, True),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
@pytest.mark.parametrize(
    "place",
    [
        '{"x":%s}',
        '{"x" : %s }',
        '{"x":\n%s\n}',
        '{"a":"1e9","x":[0,%s]}',
        '{"x":{"y":[[%s]]},"z":"e"}',
        '{"id":"3e1234","x":%s}',
    ],
)
def test_a_number_that_no_double_holds_is_refused(number: str, is_double: bool, place: str) -> None:
    value = Raw((place % number).encode())
    padding = b'{"n":1,"id":"9e400a"}\n' * 300
    many = padding + bytes(value) + b"\n" + padding
    if is_double:
        assert json_object(value, "traits") is value
        return
    assert may_hold_large_number(bytes(value))
    assert may_hold_large_number(many)
    with pytest.raises(ApiError, match=r"`traits`: the number .* is larger than any double .* Send it as a string"):
        json_object(value, "traits")
    quoted = Raw((place % f'"{number}"').encode())
    assert json_object(quoted, "traits") is quoted


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"0123e4567","b":"7e400"}',
        '{"a":"c-1e400"}',
        '{"a":1e99,"b":2E-400}',
        '{"path":"/9e999/x"}',
        '{"x":1.5e+10,"y":[2e+09,1E+1]}',
        '{"id":"5d41402abc4b2a76b9719d911017c592","other":"61e12345-01e4-43d1-89e1-123e456e7890"}',
    ],
)
@pytest.mark.parametrize("times", [1, 500])
def test_what_is_usual_needs_no_closer_look(text: str, times: int) -> None:
    assert not may_hold_large_number("\n".join([text] * times).encode())


def test_more_exponents_than_can_be_looked_at_at_once_need_a_closer_look() -> None:
    text = b'{"a":"' + b"x1e234" * 20_000 + b'"}'
    assert may_hold_large_number(text)
    assert json_object(Raw(text), "properties")


@pytest.mark.parametrize("text", [b"", b"x", b'{"traits":1}', b'traits"', b'xtraits"x', b'trait"', b'{"a":"traits"}'])
def test_what_stands_in_a_text_is_never_overlooked(text: bytes) -> None:
    for needle in (b'traits"', b'"$', b"x"):
        assert may_have_one_of(text, [needle]) >= (needle in text)
    assert not may_have_one_of(b'{"event":"bought","context":{"os":1}}', [b'traits"', b'"$'])
