"""Asking the API what a page asks, and what comes of it."""

import msgspec
from msgspec import Struct

from services.console.frame.api import AnswerError
from services.console.frame.curl import curl_line
from services.console.frame.frame import Visit
from services.console.pages.all_time import exact
from services.console.queries.asked import Asked
from services.console.queries.params import Params
from services.console.queries.windows import as_answered
from services.console.results.result import Shown, shown

_NOT_KNOWN = "The API answered in a way that the console does not know."


class Answered(Struct, frozen=True):
    """`shown` is None where the API refused: `asked.wrong` says why. `exact`: what it was asked, with all time in days, and in its
    address with the times that words had."""

    asked: Asked
    exact: Asked
    shown: Shown | None = None


async def answer_of(visit: Visit, asked: Asked) -> Answered:
    """Asks where there is something to ask. Raises AnswerError for a key that counts no more."""
    if asked.body is None or asked.wrong is not None:
        return Answered(asked, asked)
    kind, of = asked.kind.name, await exact(visit, asked)
    body = of.body or {}
    try:
        answer = await visit.api.send("POST", f"/query/{kind}", body)
        found = shown(kind, body, answer.content)
        return Answered(asked, _as_answered(of, found), found)
    except AnswerError as error:
        if error.status == 401:
            raise
        return Answered(asked.refused(error.message, error.field, error.code), of)
    except msgspec.MsgspecError:
        return Answered(asked.refused(_NOT_KNOWN, None, "internal_error"), of)


def _as_answered(asked: Asked, found: Shown) -> Asked:
    """People behind its numbers are asked for later, when words may mean other times."""
    if found.span is None:
        return asked
    return Asked(asked.kind, Params(as_answered(asked.params.pairs, found.span)), asked.body, asked.wrong)


def curl_of(visit: Visit, asked: Asked, accept: str = "") -> str:
    return curl_line(visit.base_url, "POST", f"/query/{asked.kind.name}", asked.body, accept=accept)
