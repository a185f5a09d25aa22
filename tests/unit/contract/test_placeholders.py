"""Ids and keys that stand for nothing."""

import uuid

import pytest

from services.contract.placeholders import is_placeholder_id, is_placeholder_key

WORDS = ["null", "undefined", "none", "nil", "anonymous", "guest", "unknown", "n/a", "nan", "true", "false", "0", "-1"]
NOBODY = ["[object Object]", "{}", "[]", "$posthog_cookieless"]


@pytest.mark.parametrize("word", [*WORDS, *NOBODY, str(uuid.UUID(int=0)), "0" * 32, ""])
@pytest.mark.parametrize(
    "dress",
    [
        "%s",
        '"%s"',
        r"\"%s\"",
        "'%s'",
        "“%s”",
        "(%s)",
        "[%s]",
        "{%s}",
        "<%s>",
        " %s\t",
        "\r\n%s",
        "\u200b%s\ufeff",
        "\xa0%s\u3000",
    ],
)
def test_a_placeholder_is_known_in_any_clothes(word: str, dress: str) -> None:
    for text in (word, word.upper(), word.title()):
        assert is_placeholder_id(dress % text)


@pytest.mark.parametrize(
    "blank", [" ", "\t\t", "\u2003", "\u200b\u200d", "\u2060\ufeff", "\u3164", "\u2800", "\ufe0f", "\xad"]
)
def test_an_id_that_shows_nothing_is_a_placeholder(blank: str) -> None:
    assert is_placeholder_id(blank)
    assert is_placeholder_id(blank * 300)
    assert is_placeholder_key(blank)


@pytest.mark.parametrize(
    "near",
    [
        *["a", "é", "1", "👤"],
        "nullable",
        "00",
        "01",
        "-10",
        "guest1",
        "[object]",
        "none.",
        "undefined_user",
        "n a",
        "nu ll",
        str(uuid.UUID(int=1)),
        "null@example.com",
        "x" * 512,
        "\u200bbob",
    ],
)
def test_ids_that_only_look_like_one_are_ids(near: str) -> None:
    assert not is_placeholder_id(near)
    assert not is_placeholder_key(near)


@pytest.mark.parametrize(
    "key",
    ["undefined", "null", "none", "nil", "NaN", "nan", "[object Object]", "{}", "[]", "", " ", "Undefined", " NULL "],
)
def test_keys_of_broken_clients(key: str) -> None:
    assert is_placeholder_key(key)


@pytest.mark.parametrize("key", ["(null)", "<null>", "<nil>", "{undefined}", "[None]", "{ }", "[[]]"])
def test_nothing_as_languages_print_it_is_no_key(key: str) -> None:
    """Objective-C's nil and NSNull, Go's nil, Python's None in a list."""
    assert is_placeholder_key(key)


@pytest.mark.parametrize(
    "key", ["0", "-1", "true", "false", "guest", "anonymous", "n/a", '"null"', "undefined-1", "(null)-1", "<a>"]
)
def test_a_key_may_be_what_an_id_may_not(key: str) -> None:
    assert not is_placeholder_key(key)
