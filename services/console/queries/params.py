"""The parameters of an address as a tree: `f.0.key` is the key of the first row of `f`.

A form sends all its inputs; those that are blank say nothing.
"""

from collections.abc import Iterable
from urllib.parse import urlencode

Pairs = list[tuple[str, str]]
_MOST_DIGITS = 18


def is_number(text: str) -> bool:
    """Whether it is a number as forms have them: of a row, of a tile, a width. Not every digit is one to `int`."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


class Params:
    """In the order of the address. A name may stand several times."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs: Pairs = list(pairs)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]

    def one(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.pairs if key == name), default)

    def below(self, prefix: str) -> "Params":
        """What begins with `prefix.`, without it."""
        start = f"{prefix}."
        return Params((key[len(start) :], value) for key, value in self.pairs if key.startswith(start))

    def rows(self, prefix: str) -> list["Params"]:
        """`prefix.0`, `prefix.1`, ... in the order of their numbers."""
        below = self.below(prefix)
        return [below.below(number) for number in below.numbers()]

    def numbers(self) -> list[str]:
        found = {key.partition(".")[0] for key, _ in self.pairs}
        return sorted(filter(is_number, found), key=lambda one: (int(one), one))

    def said(self) -> "Params":
        """Without what is blank."""
        return Params((key, value) for key, value in self.pairs if value.strip())

    def without(self, *names: str) -> "Params":
        """Without these, and what is below them."""
        starts = tuple(f"{name}." for name in names)
        return Params(pair for pair in self.pairs if pair[0] not in names and not pair[0].startswith(starts))

    def plus(self, *pairs: tuple[str, str]) -> "Params":
        return Params([*self.pairs, *pairs])

    def query(self) -> str:
        return urlencode(self.pairs)

    def __bool__(self) -> bool:
        return bool(self.pairs)


def under(prefix: str, pairs: Iterable[tuple[str, str]]) -> Pairs:
    return [(f"{prefix}.{key}", value) for key, value in pairs]
