"""Errors as ClickHouse's HTTP interface tells them: number, name, text, and the HTTP status that goes with the name."""

import re
from typing import Self

_BAD_REQUEST = """
    BAD_ARGUMENTS CANNOT_COMPILE_REGEXP CANNOT_PARSE_TEXT CANNOT_PARSE_ESCAPE_SEQUENCE CANNOT_PARSE_QUOTED_STRING
    CANNOT_PARSE_DATE CANNOT_PARSE_DATETIME CANNOT_PARSE_NUMBER CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING CANNOT_PARSE_IPV4
    CANNOT_PARSE_IPV6 CANNOT_PARSE_INPUT_ASSERTION_FAILED CANNOT_PARSE_UUID DUPLICATE_COLUMN ILLEGAL_COLUMN
    UNKNOWN_ELEMENT_IN_AST UNKNOWN_TYPE_OF_AST_NODE THERE_IS_NO_COLUMN TOO_DEEP_AST TOO_BIG_AST UNEXPECTED_AST_STRUCTURE
    SYNTAX_ERROR INCORRECT_DATA TYPE_MISMATCH VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
"""
_NOT_FOUND = """
    UNKNOWN_TABLE UNKNOWN_FUNCTION UNKNOWN_IDENTIFIER UNKNOWN_TYPE UNKNOWN_STORAGE UNKNOWN_DATABASE UNKNOWN_SETTING
    UNKNOWN_DIRECTION_OF_SORTING UNKNOWN_AGGREGATE_FUNCTION UNKNOWN_FORMAT UNKNOWN_DATABASE_ENGINE UNKNOWN_TYPE_OF_QUERY
    UNKNOWN_ROLE
"""
# ClickHouse's exceptionCodeToHTTPStatus; whatever is not named there is a 500.
_STATUS = {
    **dict.fromkeys(_BAD_REQUEST.split(), 400),
    **dict.fromkeys(_NOT_FOUND.split(), 404),
    "ACCESS_DENIED": 403,
    "TIMEOUT_EXCEEDED": 408,
    "QUERY_IS_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "NOT_IMPLEMENTED": 501,
    "CANNOT_OPEN_FILE": 503,
    "CANNOT_SCHEDULE_TASK": 503,
    "SOCKET_TIMEOUT": 503,
}

_PREFIX = re.compile(r"Code: (\d+)\. DB::Exception: ")
_NAME = re.compile(r"\s*\(([A-Z][A-Z0-9_]+)\)\s*(?:\(version [^)]*\))?\s*$")
# What only this server's way of inserting (from a file of the request's body) adds to a message.
_FILE_NOTES = re.compile(r"\(in file/uri [^)]*\): |: While executing File(?=:)|: data for INSERT was parsed from file")


class ClickHouseError(Exception):
    """An error of the engine, or of this server in the engine's terms."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.name = name
        self.message = message

    @property
    def status(self) -> int:
        return _STATUS.get(self.name, 500)

    def text(self, version: str) -> str:
        """The body of the answer, in the form that clients take apart."""
        return f"Code: {self.code}. DB::Exception: {self.message} ({self.name}) (version {version} (official build))\n"

    @classmethod
    def from_engine(cls, text: str) -> Self:
        """Read an exception text of chDB, which repeats its prefix where errors were passed on."""
        first = _PREFIX.search(text)
        if first is None:
            return cls(1002, "UNKNOWN_EXCEPTION", text.strip())
        message = _PREFIX.sub("", text[first.start() :])
        name = "UNKNOWN_EXCEPTION"
        while (found := _NAME.search(message)) is not None:
            name, message = found.group(1), message[: found.start()].rstrip(". ")
        return cls(int(first.group(1)), name, _FILE_NOTES.sub("", message) + ".")
