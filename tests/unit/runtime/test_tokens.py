"""OAuth tokens: one for all connections, replaced before it ends, and no secret in what is said."""

import sys
import time
from pathlib import Path

import pytest

from services.runtime.tokens import ClientCredentials, TokenError, TokenHookError, Tokens, load_hook


class Source:
    """Tokens that live so long."""

    def __init__(self, life_s: float) -> None:
        self.life_s = life_s
        self.given = 0

    def __call__(self) -> tuple[str, float]:
        self.given += 1
        return f"token {self.given}", time.time() + self.life_s


async def test_a_token_is_used_while_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(life_s=1000)
    tokens = Tokens(source, {"logicalCluster": "lkc-1"})
    assert [await tokens.token() for _ in range(3)] == ["token 1"] * 3
    assert tokens.extensions() == {"logicalCluster": "lkc-1"}
    now = time.time()
    monkeypatch.setattr("services.runtime.tokens.time.time", lambda: now + 930)
    assert await tokens.token() == "token 1"
    monkeypatch.setattr("services.runtime.tokens.time.time", lambda: now + 945)
    assert await tokens.token() == "token 2"


async def test_a_token_that_has_expired_is_not_used_again() -> None:
    source = Source(life_s=-1)
    tokens = Tokens(source, {})
    assert [await tokens.token() for _ in range(2)] == ["token 1", "token 2"]


async def test_a_failure_is_not_remembered() -> None:
    answers: list[TokenError | tuple[str, float]] = [TokenError("away"), ("token", time.time() + 100)]

    def fetch() -> tuple[str, float]:
        answer = answers.pop(0)
        if isinstance(answer, tuple):
            return answer
        raise answer

    tokens = Tokens(fetch, {})
    with pytest.raises(TokenError):
        await tokens.token()
    assert await tokens.token() == "token"


def test_a_secret_is_not_shown() -> None:
    client = ClientCredentials("http://127.0.0.1:1/token", "id", "sesame", "")
    with pytest.raises(TokenError, match="Is HEADRACE_KAFKA_OAUTH_TOKEN_URL right") as failed:
        client()
    assert "sesame" not in f"{client!r}{failed.value!r}"


def test_a_hook_gives_seconds_or_milliseconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cloud_of_test.py").write_text(
        "def seconds(): return 'a', 1700000000\n"
        "def milliseconds(): return 'b', 1700000000000\n"
        "def broken(): raise RuntimeError('sesame')\n"
        "number = 7\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_hook("cloud_of_test:seconds")() == ("a", 1_700_000_000)
    assert load_hook("cloud_of_test:milliseconds")() == ("b", 1_700_000_000)
    with pytest.raises(TokenError, match=r"cloud_of_test:broken gave no .* RuntimeError") as failed:
        load_hook("cloud_of_test:broken")()
    assert "sesame" not in str(failed.value)
    for name in ("cloud_of_test:none", "cloud_of_test:number", "no_such_module:f"):
        with pytest.raises(TokenHookError, match="HEADRACE_KAFKA_OAUTH_HOOK: "):
            load_hook(name)
    sys.modules.pop("cloud_of_test")
