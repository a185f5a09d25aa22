"""What the decoder says becomes something that a client can act on: which field, what was expected, where."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.validation import invalid_json, invalid_message


class Inner(Struct):
    size: Annotated[int, Meta(ge=1, le=20)] = 1


class Message(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=3)]
    amount: float | None = None
    flag: bool = False
    tags: list[str] = []
    inner: Inner | None = None
    inners: list[Inner] = []


def message_error(text: str, **where: Any) -> ApiError:
    with pytest.raises(msgspec.ValidationError) as invalid:
        msgspec.json.decode(text, type=Message)
    return invalid_message(invalid.value, **where)


@pytest.mark.parametrize(
    ("text", "code", "field", "message"),
    [
        ("{}", ErrorCode.MISSING_FIELD, "name", "`name` is required."),
        ('{"name": 1}', ErrorCode.INVALID_FIELD, "name", "`name`: expected string, got integer."),
        ('{"name": ""}', ErrorCode.INVALID_FIELD, "name", "`name`: expected string of length >= 1."),
        ('{"name": "abcd"}', ErrorCode.INVALID_FIELD, "name", "`name`: expected string of length <= 3."),
        (
            '{"name": "a", "amount": "1"}',
            ErrorCode.INVALID_FIELD,
            "amount",
            "`amount`: expected number or null, got string.",
        ),
        ('{"name": "a", "flag": 1}', ErrorCode.INVALID_FIELD, "flag", "`flag`: expected boolean, got integer."),
        ('{"name": "a", "tags": {}}', ErrorCode.INVALID_FIELD, "tags", "`tags`: expected array, got object."),
        (
            '{"name": "a", "tags": ["x", 5]}',
            ErrorCode.INVALID_FIELD,
            "tags[1]",
            "`tags[1]`: expected string, got integer.",
        ),
        (
            '{"name": "a", "inner": {"size": 0}}',
            ErrorCode.INVALID_FIELD,
            "inner.size",
            "`inner.size`: expected integer >= 1.",
        ),
        (
            '{"name": "a", "inners": [{"size": 21}]}',
            ErrorCode.INVALID_FIELD,
            "inners[0].size",
            "`inners[0].size`: expected integer <= 20.",
        ),
        ("[]", ErrorCode.INVALID_FIELD, None, "The body: expected object, got array."),
        ("null", ErrorCode.INVALID_FIELD, None, "The body: expected object, got null."),
    ],
)
def test_a_message_names_the_field_and_what_was_expected(
    text: str, code: ErrorCode, field: str | None, message: str
) -> None:
    error = message_error(text)
    assert (error.code, error.field, error.message, error.index) == (code, field, message, None)


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("{}", "query.name", "`query.name` is required."),
        ('{"name": 1}', "query.name", "`query.name`: expected string, got integer."),
        ("[]", "query", "`query`: expected object, got array."),
    ],
)
def test_the_path_begins_where_the_value_was_found(text: str, field: str, message: str) -> None:
    error = message_error(text, at="query")
    assert (error.field, error.message) == (field, message)


Size = Annotated[Literal["s", "m"], Meta(description="How large.")]


class Node(Struct, rename={"all_of": "and"}):
    size: Size | None = None
    all_of: list["Node"] | None = None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"size": "xl"}', "size"),
        ('{"and": [{}, {"and": [{"size": "' + "x" * 10_000 + '"}]}]}', "and[1].and[0].size"),
    ],
)
def test_a_field_that_takes_some_words_says_which(text: str, place: str) -> None:
    with pytest.raises(msgspec.ValidationError) as invalid:
        msgspec.json.decode(text, type=Node)
    error = invalid_message(invalid.value, kind=Node)
    assert (error.field, error.message) == (place, f"`{place}` must be one of m, s.")


def test_the_subject_is_what_the_message_is_called() -> None:
    assert message_error("5", subject="The event").message == "The event: expected object, got integer."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is not valid JSON: it is empty, or ends before its last bracket. Send all of it."),
        (b'{"a": }', "The body is not valid JSON: invalid character (byte 6)."),
        (b"[1,]", "The body is not valid JSON: trailing comma in array (byte 3)."),
        (b"{} x", "The body is not valid JSON: trailing characters (byte 4)."),
    ],
)
def test_broken_json_says_where(body: bytes, message: str) -> None:
    with pytest.raises(msgspec.DecodeError) as broken:
        msgspec.json.decode(body)
    error = invalid_json(broken.value)
    assert (error.code, error.message) == (ErrorCode.INVALID_JSON, message)


def test_text_that_is_no_utf8_says_where() -> None:
    with pytest.raises(UnicodeDecodeError) as broken:
        b'{"a": "\xff"}'.decode()
    error = invalid_json(broken.value)
    assert error.message == "The body is not valid UTF-8: invalid start byte (byte 7). Send JSON as UTF-8."


def test_what_is_too_deep_for_the_decoder_is_too_deep_for_us() -> None:
    error = invalid_json(RecursionError())
    assert (error.code, error.message) == (ErrorCode.TOO_DEEP, "The body is nested too deeply. Flatten it.")
