"""Whether a key that a person chose can be guessed. Keys that Headrace makes have 256 random bits."""

import math
import string
from itertools import pairwise

_LEAST_BITS = 128
# Whoever draws 22 characters and more at random has so many different ones, and different steps from one to the next.
_LEAST_DIFFERENT = 10
_ADVICE = "take a random one of at least 128 bits, say `openssl rand -hex 24`"
_CLASSES = (string.ascii_lowercase, string.ascii_uppercase, string.digits)


def weakness_of(key: str) -> str | None:
    """What is wrong with it and what to do; None for a key that is long and mixed enough to be random."""
    if not (key.isascii() and key.isprintable() and " " not in key):
        return f"a key has printable ASCII characters without blanks: {_ADVICE}"
    if _most_bits(key) < _LEAST_BITS or len(set(key)) < _LEAST_DIFFERENT or _is_pattern(key):
        return f"this key can be guessed: {_ADVICE}"
    return None


def _most_bits(key: str) -> float:
    """Of a random key with such characters."""
    for letters in (string.digits, string.hexdigits.lower()):
        if set(key) <= set(letters):
            return len(key) * math.log2(len(set(letters)))
    # A random one of both cases may well be without digits.
    is_mixed = key.lower() != key != key.upper()
    alphabet = sum(len(letters) for letters in _CLASSES if is_mixed or set(key) & set(letters))
    others = set(key).difference(*_CLASSES)
    return len(key) * math.log2(max(2, alphabet + len(others)))


def _is_pattern(key: str) -> bool:
    """Whether it is one part again and again, or rows of neighbours such as `abc` and `321`."""
    steps = {ord(later) - ord(earlier) for earlier, later in pairwise(key)}
    periods = range(1, len(key) // 2 + 1)
    return len(steps) < _LEAST_DIFFERENT or any(key.startswith(key[period:]) for period in periods)
