"""Keys that people choose: those that can be guessed are refused, those that are drawn at random are not."""

import base64
import string
import uuid
from collections.abc import Callable
from random import Random

import pytest

from services.runtime.environment import SettingsError, read_settings
from services.runtime.key_strength import weakness_of
from services.runtime.keys import KEY_PREFIX, new_key
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
    "6f1d0c9b3e7a58429d14c7b0e3f2a6",  # 120 random bits
    "9e3b50a7c2d8f164",
    "7391846205173948260571936482057193648",
]


@pytest.mark.parametrize("key", GUESSABLE)
def test_what_can_be_guessed_is_refused(key: str) -> None:
    weakness = weakness_of(key)
    assert weakness is not None
    assert "at least 128 bits" in weakness


@pytest.mark.parametrize("key", ["two words" + "x0y1z2" * 5, "kéy" + "x0y1z2" * 5, "tab\t" + "x0y1z2" * 5, "\x00" * 40])
def test_what_no_header_can_carry_is_refused(key: str) -> None:
    assert "printable ASCII" in (weakness_of(key) or "")


@pytest.mark.parametrize(
    "make",
    [
        lambda random: KEY_PREFIX + base64.urlsafe_b64encode(random.randbytes(32)).decode().rstrip("="),
        lambda random: random.randbytes(16).hex(),
        lambda random: random.randbytes(24).hex(),
        lambda random: base64.urlsafe_b64encode(random.randbytes(16)).decode().rstrip("="),
        lambda random: base64.b64encode(random.randbytes(24)).decode(),
        lambda random: str(uuid.UUID(bytes=random.randbytes(16))),
    ],
    ids=["ours", "hex 16", "hex 24", "base64url 16", "base64 24", "uuid"],
)
def test_what_is_random_is_taken(make: Callable[[Random], str]) -> None:
    random = Random(7)
    for _ in range(1000):
        key = make(random)
        assert weakness_of(key) is None, key
    assert weakness_of(new_key()) is None


def test_the_setting_is_checked_and_its_value_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRAI_API_KEY", "sesame-open")
    with pytest.raises(SettingsError, match=r"^INFRAI_API_KEY: this key can be guessed") as refused:
        read_settings(StackSettings)
    assert "sesame" not in str(refused.value)
    monkeypatch.setenv("INFRAI_API_KEY", "")
    assert read_settings(StackSettings).api_key == ""
