"""Project keys: stored as hashes only, found in memory, asked for again within bounds, and never logged."""

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.contract.api.errors import ApiError, ErrorCode
from services.runtime.clickhouse import Parameters, Settings, StoreUnavailableError
from services.runtime.keys import (
    Key,
    KeyCache,
    KeysNotKeptError,
    NoProjectError,
    Scope,
    create_key,
    hash_of,
    list_keys,
    new_key,
    revoke_key,
)
from tests.fakes.keys import MemoryKeyStore

KEY = "hr_sesame"


class RecordingStore(MemoryKeyStore):
    """Remembers what it was told; answers every query with `answer`."""

    def __init__(self, answer: list[Sequence[Any]]) -> None:
        super().__init__()
        self.answer = answer
        self.told: list[tuple[str, dict[str, Any]]] = []

    async def rows(
        self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None
    ) -> list[Sequence[Any]]:
        self.told.append((sql, dict(parameters or {})))
        return self.answer

    async def command(self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None) -> None:
        self.told.append((sql, dict(parameters or {})))


def cache_over(store: MemoryKeyStore) -> KeyCache:
    return KeyCache(store, refresh_s=60)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryKeyStore:
    monkeypatch.setattr("services.runtime.keys._ASK_AGAIN_S", 0.0)
    store = MemoryKeyStore()
    store.put(KEY, "shop", "ingest", "query")
    return store


def test_a_new_key_has_256_random_bits() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert re.fullmatch(r"hr_[A-Za-z0-9_-]{43}", key)


async def test_only_the_hash_of_a_key_is_stored() -> None:
    store = RecordingStore([])
    await create_key(store, KEY, "shop", {Scope.QUERY, Scope.INGEST}, "web")
    ((sql, parameters),) = store.told
    assert (parameters["hash"], len(parameters["hash"])) == (hash_of(KEY), 64)
    assert (parameters["project"], parameters["scopes"], parameters["name"]) == ("shop", ["ingest", "query"], "web")
    assert KEY not in sql + repr(parameters)


async def test_a_key_that_is_put_again_replaces_the_one_before() -> None:
    store = RecordingStore([])
    for project in ("shop", "blog"):
        await create_key(store, KEY, project, {Scope.INGEST})
    first, second = [parameters for _, parameters in store.told]
    assert first["hash"] == second["hash"]
    assert first["version"] < second["version"]


async def test_keys_are_listed_by_the_first_digits_of_their_hash() -> None:
    made_at = datetime(2026, 11, 20, tzinfo=UTC)
    store = RecordingStore([(hash_of(KEY), "shop", ("ingest",), "web", made_at, False)])
    (listed,) = await list_keys(store)
    assert listed.key_id == hash_of(KEY)[:12]
    assert (listed.project_id, listed.scopes, listed.name) == ("shop", ["ingest"], "web")
    assert (listed.created_at, listed.revoked) == (made_at, False)


async def test_revoking_says_how_many_keys_it_hit() -> None:
    class Revoking(RecordingStore):
        async def command(
            self, sql: str, parameters: Parameters | None = None, settings: Settings | None = None
        ) -> None:
            await super().command(sql, parameters, settings)
            self.answer = [(1,)]

    store = Revoking([(3,)])
    assert await revoke_key(store, "0123abcd") == 2
    assert [parameters["id"] for _, parameters in store.told] == ["0123abcd"] * 3


class MemoryBackup:
    """Counts how often it is written; raises while it is away."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.writes = 0
        self.is_away = False

    async def read(self) -> dict[str, Key]:
        if self.is_away:
            raise KeysNotKeptError("away")
        return dict(self.keys)

    async def write(self, changes: Mapping[str, Key | None]) -> None:
        if self.is_away:
            raise KeysNotKeptError("away")
        self.writes += 1
        for name, key in changes.items():
            if key is None:
                del self.keys[name]
            else:
                self.keys[name] = key


async def refreshed_for_a_while(keys: KeyCache, until: Callable[[], bool]) -> None:
    task = asyncio.create_task(keys.refresh_forever())
    async with asyncio.timeout(5):
        while not until():  # noqa: ASYNC110 (nobody tells us)
            await asyncio.sleep(0.001)
    task.cancel()


async def test_who_starts_while_clickhouse_is_away_knows_the_last_keys(store: MemoryKeyStore) -> None:
    backup = MemoryBackup()
    before = KeyCache(store, 0.001, backup)
    await refreshed_for_a_while(before, lambda: backup.writes == 1 and store.asked > 3)
    assert backup.keys == {hash_of(KEY): Key("shop", frozenset({Scope.INGEST, Scope.QUERY}))}
    store.available = False
    keys = KeyCache(store, 0.001, backup)
    assert keys.loaded_at is None
    await refreshed_for_a_while(keys, lambda: keys.loaded_at is not None)
    assert (await keys.authorize_key(KEY, Scope.INGEST)).project_id == "shop"
    with pytest.raises(ApiError) as caught:  # it may have been made since
        await keys.authorize_key("hr_other", Scope.INGEST)
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE


async def test_a_revoked_key_leaves_the_backup_also_when_that_was_away(store: MemoryKeyStore) -> None:
    backup = MemoryBackup()
    keys = KeyCache(store, 0.001, backup)
    await refreshed_for_a_while(keys, lambda: bool(backup.keys))
    backup.is_away = True
    store.revoke(KEY)
    asked = store.asked
    with capture_logs() as said:
        await refreshed_for_a_while(keys, lambda: store.asked > asked + 5)
    assert [line["event"] for line in said] == ["keys_not_kept"]
    backup.is_away = False
    await refreshed_for_a_while(keys, lambda: not backup.keys)


async def test_a_known_key_is_found_without_asking(store: MemoryKeyStore) -> None:
    keys = cache_over(store)
    await keys.refresh()
    for _ in range(10):
        assert await keys.find(KEY) == Key("shop", frozenset({Scope.INGEST, Scope.QUERY}))
    assert store.asked == 1


async def test_scopes_that_this_version_does_not_know_give_no_right(store: MemoryKeyStore) -> None:
    store.put("hr_future", "shop", "admin", "query")
    keys = cache_over(store)
    assert await keys.find("hr_future") == Key("shop", frozenset({Scope.QUERY}))


async def test_a_revoked_key_is_gone_after_the_next_reading(store: MemoryKeyStore) -> None:
    keys = cache_over(store)
    await keys.refresh()
    store.revoke(KEY)
    assert await keys.find(KEY) is not None
    await keys.refresh()
    assert await keys.find(KEY) is None


async def test_a_header_that_was_right_is_refused_once_its_key_is_revoked(store: MemoryKeyStore) -> None:
    keys = cache_over(store)
    await keys.refresh()
    for scope in (Scope.INGEST, Scope.QUERY, Scope.INGEST):
        assert await keys.authorize(f"Bearer {KEY}", scope)
    store.revoke(KEY)
    await keys.refresh()
    with pytest.raises(ApiError, match="not known, or was revoked"):
        await keys.authorize(f"Bearer {KEY}", Scope.INGEST)


async def test_many_ways_to_write_a_header_take_no_more_memory_than_allowed(
    store: MemoryKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.keys._MAX_HEADERS", 2)
    keys = cache_over(store)
    await keys.refresh()
    for blanks in range(1, 6):
        assert await keys.authorize(f"Bearer{' ' * blanks}{KEY}", Scope.INGEST)
    assert len(keys._by_header) == 2


async def test_a_key_made_right_after_a_reading_works_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.keys._ASK_AGAIN_S", 0.02)
    store = MemoryKeyStore()
    keys = cache_over(store)
    await keys.refresh()
    store.put(KEY, "shop", "ingest")
    assert await keys.find(KEY) == Key("shop", frozenset({Scope.INGEST}))


async def test_unknown_keys_ask_no_more_often_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    pause_s = 0.02
    monkeypatch.setattr("services.runtime.keys._ASK_AGAIN_S", pause_s)
    store = MemoryKeyStore()
    keys = cache_over(store)
    started = time.monotonic()
    for i in range(5):
        assert await keys.find(f"hr_guess{i}") is None
    assert store.asked == 5
    assert time.monotonic() - started >= 4 * pause_s


async def test_one_question_answers_all_that_wait(store: MemoryKeyStore) -> None:
    keys = cache_over(store)
    await keys.refresh()
    store.hold = asyncio.Event()
    finds = [asyncio.create_task(keys.find(f"hr_guess{i}")) for i in range(50)]
    await store.until_asked(2)
    late = [asyncio.create_task(keys.find(f"hr_late{i}")) for i in range(50)]
    await asyncio.sleep(0)
    store.hold.set()
    assert await asyncio.gather(*finds, *late) == [None] * 100
    assert store.asked == 3


async def test_known_keys_do_not_wait_for_a_slow_store(store: MemoryKeyStore) -> None:
    keys = cache_over(store)
    await keys.refresh()
    store.hold = asyncio.Event()
    unknown = asyncio.create_task(keys.find("hr_unknown"))
    await store.until_asked(2)
    assert await keys.find(KEY) is not None
    assert not unknown.done()
    store.hold.set()
    assert await unknown is None


async def test_while_the_store_is_away_the_known_keys_stay(store: MemoryKeyStore) -> None:
    keys = cache_over(store)
    await keys.refresh()
    loaded_at = keys.loaded_at
    store.available = False
    with pytest.raises(StoreUnavailableError):
        await keys.refresh()
    assert await keys.find(KEY) is not None
    assert await keys.find("hr_unknown") is None
    assert keys.loaded_at == loaded_at


async def test_reading_goes_on_for_ever_and_a_failure_is_said_once(store: MemoryKeyStore) -> None:
    keys = KeyCache(store, refresh_s=0.0)
    store.available = False
    with capture_logs() as logged:
        task = asyncio.create_task(keys.refresh_forever())
        await store.until_asked(5)
        read_while_away = keys.loaded_at
        store.available = True
        store.put("hr_new", "blog", "ingest")
        await store.until_asked(8)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    asked = store.asked
    assert read_while_away is None
    assert await keys.find("hr_new") is not None
    assert store.asked == asked
    assert [entry["event"] for entry in logged] == ["keys_not_refreshed"]


@pytest.mark.parametrize(
    ("authorization", "scope", "code", "message"),
    [
        (None, Scope.INGEST, ErrorCode.UNAUTHORIZED, "Send the project key"),
        ("", Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        ("Bearer", Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        ("Bearer   ", Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        (f"Basic {KEY}", Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        (KEY, Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        (f"Bearer\t{KEY}", Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        (f" Bearer {KEY}", Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        (f"Bearer {KEY}, Bearer {KEY}", Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        (f"Bearer {KEY},", Scope.INGEST, ErrorCode.UNAUTHORIZED, "not known, or was revoked"),
        (f"Bearer {KEY}\x85", Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        (f"Bearer {KEY}\xa0", Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        (f"Bearer \x00{KEY}", Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        (f"B\u017farer {KEY}", Scope.INGEST, ErrorCode.UNAUTHORIZED, "must have the form"),
        (f"Bearer {KEY}x", Scope.INGEST, ErrorCode.UNAUTHORIZED, "not known, or was revoked"),
        (f"Bearer {KEY.upper()}", Scope.INGEST, ErrorCode.UNAUTHORIZED, "not known, or was revoked"),
        ("Bearer hr_query", Scope.INGEST, ErrorCode.FORBIDDEN, "does not have the scope `ingest`"),
        ("Bearer hr_none", Scope.QUERY, ErrorCode.FORBIDDEN, "does not have the scope `query`"),
    ],
)
async def test_who_may_not(
    store: MemoryKeyStore, authorization: str | None, scope: Scope, code: ErrorCode, message: str
) -> None:
    store.put("hr_query", "shop", "query")
    store.put("hr_none", "shop")
    keys = cache_over(store)
    await keys.refresh()
    for _ in range(2):  # what was asked once is remembered
        with pytest.raises(ApiError, match=message) as refused:
            await keys.authorize(authorization, scope)
    assert refused.value.code is code
    assert KEY.lower() not in refused.value.message.lower()


@pytest.mark.parametrize(
    "project", ["", " ", "\t", " shop", "shop ", "shop\n", "a\x1b[2J", "x" * 201, "\u202eshop", "\u2028", "\x00"]
)
async def test_no_key_is_made_for_a_project_that_cannot_be_told_apart(project: str) -> None:
    store = RecordingStore([])
    with pytest.raises(NoProjectError, match="printable"):
        await create_key(store, KEY, project, {Scope.INGEST})
    assert store.told == []


@pytest.mark.parametrize("project", ["shop", "Läden und mehr", "[/x]", "x" * 200, "0"])
async def test_other_names_of_projects_are_fine(project: str) -> None:
    store = RecordingStore([])
    await create_key(store, KEY, project, {Scope.INGEST})
    assert store.told[0][1]["project"] == project


@pytest.mark.parametrize("project", ["", " ", "\t\n"])
async def test_a_stored_key_without_a_project_is_nobody_s(store: MemoryKeyStore, project: str) -> None:
    store.put("hr_nobody", project, "ingest", "query")
    keys = cache_over(store)
    assert await keys.find("hr_nobody") is None
    assert await keys.find(KEY) is not None


@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY} "])
@pytest.mark.parametrize("scope", list(Scope))
async def test_who_may(store: MemoryKeyStore, authorization: str, scope: Scope) -> None:
    keys = cache_over(store)
    assert (await keys.authorize(authorization, scope)).project_id == "shop"


async def test_before_the_first_reading_a_key_is_neither_known_nor_unknown(store: MemoryKeyStore) -> None:
    store.available = False
    keys = cache_over(store)
    with pytest.raises(ApiError) as refused:
        await keys.authorize(f"Bearer {KEY}", Scope.INGEST)
    assert (refused.value.code, refused.value.retry_after_s) == (ErrorCode.STORE_UNAVAILABLE, 2)
    store.available = True
    assert (await keys.authorize(f"Bearer {KEY}", Scope.INGEST)).project_id == "shop"


async def test_a_key_is_in_no_log_line(store: MemoryKeyStore) -> None:
    keys = cache_over(store)
    store.available = False
    with capture_logs() as logged, suppress(ApiError):
        await keys.authorize("Bearer hr_secret_guess", Scope.INGEST)
    assert len(logged) == 1
    assert "hr_secret_guess" not in repr(logged)
    assert hash_of("hr_secret_guess") not in repr(logged)
