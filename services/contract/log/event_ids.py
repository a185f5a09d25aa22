"""The 128-bit event id: what makes an event the same event."""

import os
from collections.abc import Sequence
from functools import lru_cache

from xxhash import xxh3_128_digest

from services.contract.log.envelope import ID_BYTES


def id_of_key(project_id: str, idempotency_key: str, kind: str = "") -> bytes:
    """XXH3-128 of project and key: equal within a project exactly when the keys are equal.

    The project is hashed first and its digest prepended, so that no choice of key reaches into another project. `kind`:
    a key names one message of one kind. Track events have none: one space of keys, however they are sent. No key has a
    NUL, so that none reaches into the space of another kind.
    """
    text = f"{kind}\0{idempotency_key}" if kind else idempotency_key
    return xxh3_128_digest(project_prefix(project_id) + text.encode())


def id_of_merge(message_id: bytes) -> bytes:
    """Of the merge of an identify that links as well: a line of its own, beside that of the message."""
    return xxh3_128_digest(message_id + b"alias_for")


def ids_of_keys(project_id: str, idempotency_keys: Sequence[str | None]) -> list[bytes]:
    """`id_of_key` of many track events; a fresh id where there is no key."""
    prefix = project_prefix(project_id)
    try:
        return [xxh3_128_digest(prefix + key.encode()) for key in idempotency_keys]  # type: ignore[union-attr]
    except AttributeError:  # None has no text
        fresh = iter(fresh_ids(idempotency_keys.count(None)))
        return [next(fresh) if key is None else xxh3_128_digest(prefix + key.encode()) for key in idempotency_keys]


@lru_cache(4096)
def project_prefix(project_id: str) -> bytes:
    """What is hashed before each key of a project."""
    return xxh3_128_digest(project_id.encode())


def fresh_ids(count: int) -> list[bytes]:
    """Random ids for events without a key."""
    random = os.urandom(count * ID_BYTES)
    return [random[i : i + ID_BYTES] for i in range(0, len(random), ID_BYTES)]
