"""Keys that people choose: those that can be guessed are refused, those that are drawn at random are not."""

import base64
import secrets
import string
import uuid
from collections.abc import Callable

import pytest

from services.runtime.environment import SettingsError, read_settings
from services.runtime.key_strength import weakness_of
from services.runtime.keys import new_key
from services.runtime.settings import StackSettings

GUESSABLE = [
    "a",
    "secret",
    "hr_sesame",
    "development",
    "0123456789",
    "12345678901234567890123456789012",
    "a" * 64,
    "ab" * 40,
    string.ascii_lowercase + string.digits,
    string.digits + string.ascii_letters,
    (string.ascii_lowercase + string.digits)[::-1],
    "hr_key" * 10,
    "secret12" * 8,
    secrets.token_hex(15),
    secrets.token_hex(8),
    str(secrets.randbelow(10**37)),
]


@pytest.mark.parametrize("key", GUESSABLE)
def test_what_can_be_guessed_is_refused(key: str) -> None:
    weakness = weakness_of(key)
    assert weakness is not None
    assert "at least 128 bits" in weakness


@pytest.mark.parametrize(
    "key", ["two words" + "x0y1z2" * 5, "kéy" + secrets.token_hex(24), "tab\t" + secrets.token_hex(24), "\x00" * 40]
)
def test_what_no_header_can_carry_is_refused(key: str) -> None:
    assert "printable ASCII" in (weakness_of(key) or "")


@pytest.mark.parametrize(
    "make",
    [
        new_key,
        lambda: secrets.token_hex(16),
        lambda: secrets.token_hex(24),
        lambda: secrets.token_urlsafe(16),
        lambda: "sk_" + secrets.token_urlsafe(24),
        lambda: base64.b64encode(secrets.token_bytes(24)).decode(),
        lambda: str(uuid.uuid4()),
    ],
)
def test_what_is_random_is_taken(make: Callable[[], str]) -> None:
    for _ in range(200):
        key = make()
        assert weakness_of(key) is None, key


def test_the_setting_is_checked_and_its_value_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRAI_API_KEY", "sesame-open")
    with pytest.raises(SettingsError, match=r"^INFRAI_API_KEY: this key can be guessed") as refused:
        read_settings(StackSettings)
    assert "sesame" not in str(refused.value)
    monkeypatch.setenv("INFRAI_API_KEY", "")
    assert read_settings(StackSettings).api_key == ""
