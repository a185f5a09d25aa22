"""Reads as much of an SQL text as the HTTP interface must know: the kind, its output format, where insert data begins.

It is a lexer, not a parser: whatever it does not need is left for the engine to judge.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.devstack.clickhouse.errors import ClickHouseError

_TOKEN = re.compile(
    rb"""
    (?P<space>  \s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?\*/ )
  | (?P<string> '(?:[^'\\]|\\.|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<quoted> `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" )
  | (?P<word>   [\w\x80-\xff]+ )
  | (?P<sign>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
_INSERT_HEAD = {b"INTO", b"TABLE", b"FUNCTION"}
_INSERT_ELSEWHERE = {b"SELECT", b"WITH", b"FROM", b"WATCH"}
# ClickHouse: data starts after the first line end behind the format's name, or after the blanks when there is none.
_DATA_GAP = re.compile(rb"[ \t\f]*\r?\n?")
# Kinds of statements that have an answer even when it is empty.
_ANSWERING = {"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", "KILL", "FROM"}


class Token(NamedTuple):
    """`depth` counts the brackets around it; white space and comments are no tokens."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    def is_word(self, word: bytes) -> bool:
        return self.kind == "word" and self.text.upper() == word


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that needs no data. `format` is that of its FORMAT clause."""

    keyword: str
    text: bytes
    format: str | None = None

    @property
    def answers(self) -> bool:
        return self.keyword in _ANSWERING


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT whose rows follow it. The statement was `target` `clauses` FORMAT `format`, then `data`, in pieces."""

    target: bytes
    clauses: bytes
    format: str | None
    data: Sequence[memoryview]


def parse(sql: bytes) -> Statement | Insert:
    """Raises ClickHouseError for an empty text and for several statements in one."""
    tokens = tokenize(sql)
    first = next((t for t in tokens if t.text != b"("), None)
    if first is None or first.text == b";":
        raise ClickHouseError(62, "SYNTAX_ERROR", "Syntax error: failed at position 1 (end of query): Empty query.")
    if first.is_word(b"INSERT"):
        insert = _insert(sql, tokens)
        if insert is not None:
            return insert
    return _statement(sql, first.text.upper().decode(errors="replace"))


def tokenize(sql: bytes) -> Iterator[Token]:
    depth = 0
    for found in _TOKEN.finditer(sql):
        kind = found.lastgroup or ""
        if kind == "space":
            continue
        text = found.group()
        if text in (b")", b"]", b"}"):
            depth -= 1
        yield Token(kind, text, found.start(), found.end(), depth)
        if text in (b"(", b"[", b"{"):
            depth += 1


def _insert(sql: bytes, tokens: Iterator[Token]) -> Insert | None:
    """None when the rows do not follow the statement: INSERT ... SELECT, INSERT ... FROM INFILE."""
    name = next((t for t in tokens if t.text.upper() not in _INSERT_HEAD), None)
    clauses = 0
    before = name
    for token in tokens:
        word = token.text.upper() if token.kind == "word" else b""
        part_of_name = before is not None and before.text == b"."
        before = token
        if token.depth > 1 or not word or part_of_name:
            continue
        if word in _INSERT_ELSEWHERE and (token.depth == 0 or word == b"SELECT"):
            return None
        if token.depth > 0:
            continue
        if word == b"SETTINGS":
            clauses = clauses or token.start
        elif word == b"VALUES":
            return _cut(sql, clauses or token.start, token.start, "Values", token.end)
        elif word == b"FORMAT" and (named := next(tokens, None)) is not None:
            gap = _DATA_GAP.match(sql, named.end)
            data = gap.end() if gap else named.end
            return _cut(sql, clauses or token.start, token.start, named.text.decode(errors="replace"), data)
    end = len(sql.rstrip(b"; \t\r\n\f"))
    return _cut(sql, clauses or end, end, None, len(sql))


def _cut(sql: bytes, clauses: int, end: int, format_name: str | None, data: int) -> Insert:
    return Insert(sql[:clauses], sql[clauses:end], format_name, [memoryview(sql)[data:]])


def _statement(sql: bytes, keyword: str) -> Statement:
    end: int | None = None
    tail: list[Token] = []
    for token in tokenize(sql):
        if end is not None and token.text != b";":
            raise ClickHouseError(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed).")
        if token.text == b";":
            end = token.start if end is None else end
        elif token.depth == 0 and token.is_word(b"FORMAT"):
            tail = [token]
        elif tail:
            tail.append(token)
    # A column may be called `format`: the clause has one word, and only SETTINGS may follow it.
    named = len(tail) == 2 or (len(tail) > 2 and tail[2].is_word(b"SETTINGS"))
    format_name = tail[1].text.decode(errors="replace") if named else None
    return Statement(keyword, sql if end is None else sql[:end], format_name)
