"""Reads an nginx configuration, and says which location answers a path (exact ones, prefixes, expressions)."""

import re
from collections.abc import Iterator

from msgspec import Struct

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<mark>[{};])|(?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<word>[^\s{};]+)"""
)


class Directive(Struct, frozen=True):
    """`name words...;` or `name words... { block }`."""

    name: str
    words: list[str]
    block: "list[Directive]"

    def all(self, name: str) -> "list[Directive]":
        return [d for d in self.block if d.name == name]

    def one(self, name: str) -> "Directive":
        (found,) = self.all(name)
        return found


def read_conf(text: str) -> Directive:
    """The whole file as one block."""
    tokens = _tokens(text)
    block, closed = _block(tokens)
    assert not closed, "a } without a {"
    return Directive("", [], block)


def location_of(server: Directive, path: str) -> Directive:
    """The location that nginx picks: the exact one, the first whose expression matches, or the one with the longest
    prefix."""
    exact = [d for d in server.all("location") if d.words == ["=", path]]
    if exact:
        return exact[0]
    by_expression = [d for d in server.all("location") if d.words[0] == "~" and re.search(d.words[1], path)]
    if by_expression:
        return by_expression[0]
    plain = [d for d in server.all("location") if len(d.words) == 1 and d.words[0].startswith("/")]
    return max((d for d in plain if path.startswith(d.words[0])), key=lambda d: len(d.words[0]))


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Tokens, and whether each is a mark."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found is not None, f"unreadable: {text[at : at + 40]!r}"
        at = found.end()
        if found["mark"]:
            yield found["mark"], True
        elif found["quoted"]:
            yield found["quoted"][1:-1], False
        elif found["word"]:
            yield found["word"], False


def _block(tokens: Iterator[tuple[str, bool]]) -> tuple[list[Directive], bool]:
    """Directives up to the closing mark or the end; whether it was the mark."""
    directives: list[Directive] = []
    words: list[str] = []
    for token, is_mark in tokens:
        if not is_mark:
            words.append(token)
        elif token == "}":
            assert not words, words
            return directives, True
        else:
            block = _block(tokens)[0] if token == "{" else []
            directives.append(Directive(words[0], words[1:], block))
            words = []
    return directives, False
