"""Idempotency keys that look random and are numbers: event n has the n-th key, and each key says its number.

So nobody has to remember millions of keys to know which of them are stored.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY_CHARS = 32
U64 = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_A_BACK, _B_BACK = np.uint64(pow(int(_A), -1, 1 << 64)), np.uint64(pow(int(_B), -1, 1 << 64))


def keys(first: int, count: int, run: int) -> bytes:
    """The keys of `count` numbers from `first` on, in hexadecimal, one after the other. `run` sets runs apart."""
    pairs = np.empty((count, 2), ">u8")
    high = _mixed(np.arange(first, first + count, dtype=np.uint64) + np.uint64(run))
    pairs[:, 0] = high
    pairs[:, 1] = _mixed(high)
    return pairs.tobytes().hex().encode()


def numbers(stored: bytes, run: int) -> tuple[U64, int]:
    """The numbers of stored keys of 16 bytes each, and how many of them are none of ours."""
    pairs = np.frombuffer(stored, ">u8").reshape(-1, 2).astype(np.uint64)
    ours = _mixed(pairs[:, 0]) == pairs[:, 1]
    found: U64 = _unmixed(pairs[ours, 0]) - np.uint64(run)
    return found, int((~ours).sum())


def _mixed(value: U64) -> U64:
    """SplitMix64: each number has one image, and no two the same."""
    value = value + _STEP
    value = (value ^ (value >> np.uint64(30))) * _A
    value = (value ^ (value >> np.uint64(27))) * _B
    mixed: Any = value ^ (value >> np.uint64(31))
    return mixed  # type: ignore[no-any-return]


def _unmixed(value: U64) -> U64:
    value = (value ^ (value >> np.uint64(31)) ^ (value >> np.uint64(62))) * _B_BACK
    value = (value ^ (value >> np.uint64(27)) ^ (value >> np.uint64(54))) * _A_BACK
    unmixed: Any = (value ^ (value >> np.uint64(30)) ^ (value >> np.uint64(60))) - _STEP
    return unmixed  # type: ignore[no-any-return]
