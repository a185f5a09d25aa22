"""Errors that an operator can mend: they end a program with lines for a person instead of a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from services.runtime.printable import printable


class OperatorError(Exception):
    """The message says what is wrong and what to change; it may have several lines."""


def print_error(message: object) -> None:
    """On standard error, each line with the program's name before it."""
    for line in str(message).splitlines():
        print(f"headrace: {printable(line)}", file=sys.stderr, flush=True)


@contextmanager
def errors_for_operators() -> Iterator[None]:
    """Ends the program with status 1 and the message on an OperatorError."""
    try:
        yield
    except OperatorError as error:
        print_error(error)
        raise SystemExit(1) from error
