"""Asking the API what a page asks, and what comes of it."""

import msgspec
from msgspec import Struct

from services.console.frame.api import AnswerError
from services.console.frame.curl import curl_line
from services.console.frame.frame import Visit
from services.console.pages.all_time import exact
from services.console.queries.asked import Asked
from services.console.results.result import Shown, shown

_NOT_KNOWN = "The API answered in a way that the console does not know."


class Answered(Struct, frozen=True):
    """`shown` is None where the API refused: `asked.wrong` says why. `exact`: what it was asked, with all time in days."""

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
        return Answered(asked, of, shown(kind, body, answer.content))
    except AnswerError as error:
        if error.status == 401:
            raise
        return Answered(asked.refused(error.message, error.field, error.code), of)
    except msgspec.MsgspecError:
        return Answered(asked.refused(_NOT_KNOWN, None, "internal_error"), of)


def curl_of(visit: Visit, asked: Asked, accept: str = "") -> str:
    return curl_line(visit.base_url, "POST", f"/query/{asked.kind.name}", asked.body, accept=accept)
