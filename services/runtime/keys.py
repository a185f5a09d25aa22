"""Project keys: made, listed, revoked, and looked up. A key is stored as its SHA-256 and never logged.

A key is 256 random bits, so a plain hash cannot be turned back by guessing.
"""

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.tables import API_KEYS
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.clock import utc_now
from services.runtime.logs import get_logger
from services.runtime.operator_errors import OperatorError
from services.runtime.retry import repeat_forever

log = get_logger(__name__)

KEY_PREFIX = "hr_"
_BEARER = re.compile(r"bearer +([!-~]+) *", re.IGNORECASE | re.ASCII)
_MAX_PROJECT_CHARS = 200
# One key has many headers: the word before it may be written in upper and lower case, with blanks behind it.
_MAX_HEADERS = 10_000
# An unknown key asks ClickHouse at once, so that a new key works immediately; but not more often than this.
_ASK_AGAIN_S = 0.5
_READ_BACKUP_EVERY_S = 300.0


class Scope(StrEnum):
    INGEST = "ingest"
    QUERY = "query"


class Key(Struct, frozen=True):
    """What a valid key stands for."""

    project_id: str
    scopes: frozenset[Scope]


class KeyRecord(Struct, frozen=True):
    """A stored key, without the key. `key_id` names it for revoke."""

    key_id: str
    project_id: str
    scopes: list[str]
    name: str
    created_at: datetime
    revoked: bool


def new_key() -> str:
    return KEY_PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class NoProjectError(OperatorError):
    """A key needs a project that can be told apart; the message says what is wrong with the one given."""


# The clock of this machine may be behind that of the one that wrote the row before: the later word counts all the same.
_NEXT = f"greatest({{version:UInt64}}, (SELECT max(version) + 1 FROM {API_KEYS} WHERE key_hash = {{hash:String}}))"


async def create_key(store: ClickHouse, key: str, project_id: str, scopes: set[Scope], name: str = "") -> None:
    """Put a key in, or change the project, scopes and name of the one that is there (and take back its revocation).

    Raises NoProjectError.
    """
    if not is_project(project_id):
        raise NoProjectError(
            f"a project's name has 1 to {_MAX_PROJECT_CHARS} printable characters, and no blank at its ends"
        )
    await store.command(
        f"INSERT INTO {API_KEYS} (key_hash, project_id, scopes, name, created_at, revoked, version) SELECT "
        f"{{hash:String}}, {{project:String}}, {{scopes:Array(String)}}, {{name:String}}, now64(6), false, {_NEXT}",
        {
            "hash": hash_of(key),
            "project": project_id,
            "scopes": sorted(scopes),
            "name": name,
            "version": time.time_ns(),
        },
    )


def is_project(project_id: str) -> bool:
    return 1 <= len(project_id) <= _MAX_PROJECT_CHARS and project_id.isprintable() and project_id == project_id.strip()


async def list_keys(store: ClickHouse) -> list[KeyRecord]:
    rows = await store.rows(
        "SELECT key_hash, project_id, scopes, name, created_at, revoked "
        f"FROM {API_KEYS} FINAL ORDER BY project_id, created_at"
    )
    return [KeyRecord(r[0][:12], r[1], list(r[2]), r[3], r[4], r[5]) for r in rows]


async def revoke_key(store: ClickHouse, key_id: str) -> int:
    """Revoke the keys whose hash begins with `key_id` (at least 8 digits); the number of keys revoked."""
    valid = f"SELECT count() FROM {API_KEYS} FINAL WHERE startsWith(key_hash, {{id:String}}) AND NOT revoked"
    ((before,),) = await store.rows(valid, {"id": key_id})
    await store.command(
        f"INSERT INTO {API_KEYS} SELECT * REPLACE "
        "(true AS revoked, greatest({version:UInt64}, k.version + 1) AS version) "
        # Unqualified, `revoked` would be the value that replaces it.
        f"FROM {API_KEYS} AS k FINAL WHERE startsWith(k.key_hash, {{id:String}}) AND NOT k.revoked",
        {"id": key_id, "version": time.time_ns()},
    )
    ((after,),) = await store.rows(valid, {"id": key_id})
    return int(before) - int(after)


class KeysNotKeptError(Exception):
    """The backup of keys does not answer."""


class KeyBackup(Protocol):
    """Where the last known keys are, by their hashes, when ClickHouse is away. Methods raise KeysNotKeptError."""

    async def read(self) -> dict[str, Key]: ...

    async def write(self, changes: Mapping[str, Key | None]) -> None:
        """None: the key is no more."""


class KeyCache:
    """All valid keys, in memory. Goes on with what it has while ClickHouse is away. Before the first `refresh` it knows what
    the `backup` has, if there is one."""

    def __init__(self, store: ClickHouse, refresh_s: float, backup: KeyBackup | None = None) -> None:
        self._backup = backup
        self._backed_up: dict[str, Key] | None = None
        self._backup_read_at = 0.0
        self._backup_failed = False
        self._store = store
        self._refresh_s = refresh_s
        self._keys: dict[str, Key] = {}
        # Of Authorization headers that came with a valid key: to read and hash one takes a twentieth of a single event.
        self._by_header: dict[str, Key] = {}
        self._asked_at = 0.0
        self._up_to_date = False
        self._lock = asyncio.Lock()
        self.loaded_at: datetime | None = None

    async def refresh(self) -> None:
        """Read all keys. Raises StoreError, and keeps what was known."""
        async with self._lock:
            await self._refresh()

    async def _refresh(self) -> None:
        self._asked_at = time.monotonic()
        self._up_to_date = False
        rows = await self._store.rows(f"SELECT key_hash, project_id, scopes FROM {API_KEYS} FINAL WHERE NOT revoked")
        known = set(Scope)
        # A row without a project is nobody's key.
        self._use({r[0]: Key(r[1], frozenset(Scope(s) for s in r[2] if s in known)) for r in rows if r[1].strip()})
        self._up_to_date = True

    def _use(self, keys: dict[str, Key]) -> None:
        self._keys, self._by_header, self.loaded_at = keys, {}, utc_now()

    async def refresh_forever(self) -> None:
        await repeat_forever(self._refresh_both, (StoreError,), self._refresh_s, log, "keys_not_refreshed")

    async def _refresh_both(self) -> None:
        try:
            await self.refresh()
        except StoreError:
            if self.loaded_at is None and self._backup is not None:
                await self._restore(self._backup)
            raise
        if self._backup is not None:
            await self._back_up(self._backup)

    async def _restore(self, backup: KeyBackup) -> None:
        """Not up to date: of a key that is not among these nobody says that it is unknown."""
        try:
            known = await backup.read()
        except KeysNotKeptError as error:
            log.warning("keys_not_restored", reason=str(error))
            return
        async with self._lock:
            if known and self.loaded_at is None:
                self._use(known)
                log.warning("keys_of_before", keys=len(known))

    async def _back_up(self, backup: KeyBackup) -> None:
        """What differs. Now and then the backup is read again: another edge may have written what it knew long ago."""
        keys = self._keys
        try:
            if self._backed_up is None or time.monotonic() - self._backup_read_at > _READ_BACKUP_EVERY_S:
                self._backed_up, self._backup_read_at = await backup.read(), time.monotonic()
            there = self._backed_up
            gone: dict[str, Key | None] = dict.fromkeys(there.keys() - keys.keys())
            changes = gone | {name: key for name, key in keys.items() if there.get(name) != key}
            if changes:
                await backup.write(changes)
            self._backed_up, self._backup_failed = keys, False
        except KeysNotKeptError as error:
            if not self._backup_failed:
                log.warning("keys_not_kept", reason=str(error))
            self._backup_failed = True

    async def find(self, key: str) -> Key | None:
        digest = hash_of(key)
        found = self._keys.get(digest)
        if found is not None:
            return found
        came_at = time.monotonic()
        async with self._lock:
            # Waits rather than answers from what was read before the key may have been made; one query of
            # ClickHouse answers all that wait.
            if digest not in self._keys and self._asked_at <= came_at:
                await asyncio.sleep(max(0.0, self._asked_at + _ASK_AGAIN_S - time.monotonic()))
                try:
                    await self._refresh()
                except StoreError as error:
                    log.warning("keys_not_refreshed", reason=str(error))
        return self._keys.get(digest)

    async def authorize(self, authorization: str | None, scope: Scope) -> Key:
        """The key of an `Authorization: Bearer ...` header. Raises 401, 403, or 503 for a key that is unknown while keys cannot be read."""
        if authorization is None:
            raise ApiError(ErrorCode.UNAUTHORIZED, "Send the project key: `Authorization: Bearer <project key>`.")
        if (remembered := self.remembered(authorization, scope)) is not None:
            return remembered
        # Nothing that a proxy on the way may write in another way: the same header is the same key everywhere.
        given = _BEARER.fullmatch(authorization)
        if given is None:
            raise ApiError(
                ErrorCode.UNAUTHORIZED, "The Authorization header must have the form `Bearer <project key>`."
            )
        key = await self.authorize_key(given[1], scope)
        if len(self._by_header) < _MAX_HEADERS:
            self._by_header[authorization] = key
        return key

    def remembered(self, authorization: str | None, scope: Scope) -> Key | None:
        """The key of a header that came with this valid key before; None says nothing."""
        key = self._by_header.get(authorization)  # type: ignore[arg-type]
        return key if key is not None and scope in key.scopes else None

    async def authorize_key(self, token: str, scope: Scope) -> Key:
        key = await self.find(token)
        if key is None:
            if not self._up_to_date:  # it may be a key that was just made
                message = "This project key is not known here, and keys cannot be read now. Retry."
                raise ApiError(ErrorCode.STORE_UNAVAILABLE, message, retry_after_s=2)
            raise ApiError(ErrorCode.UNAUTHORIZED, "This project key is not known, or was revoked.")
        if scope not in key.scopes:
            raise ApiError(
                ErrorCode.FORBIDDEN, f"This project key does not have the scope `{scope}`. Use a key that has it."
            )
        return key
