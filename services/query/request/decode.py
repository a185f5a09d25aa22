"""A JSON body -> a typed value, or an ApiError that names the field and what was expected.

Fields that the type does not know are left out and named in warnings.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from services.contract.api.encoding import HALVES_REPLACED, halves_replaced, without_mark
from services.contract.api.funnel import FunnelStep
from services.contract.api.trends import TrendSeries
from services.contract.api.validation import invalid_json, invalid_message
from services.contract.repeated_names import first_of_each_name
from services.query.request.cohorts import unknown_fields

MAX_WARNINGS = 20
FIRST_COUNTS = "a name stands twice in an object: the first counts"

T = TypeVar("T", bound=Struct)
# Objects inside a body, in lists: their unknown fields are named in warnings too.
_LISTED: dict[str, type[Struct]] = {"steps": FunnelStep, "series": TrendSeries}


def decode(body: bytes, kind: type[T], known: Collection[str] | None = ()) -> tuple[T, list[str]]:
    """`known`: fields that `kind` does not list and that are no reason to warn; None: do not look for any."""
    try:
        whole = halves_replaced(without_mark(body))
        whole.decode()
        text = first_of_each_name(whole)
        value = msgspec.json.decode(text, type=kind)
        if known is None:
            return value, []
        sent = msgspec.json.decode(text, type=dict[str, Raw])
        mended = [] if body.endswith(whole) else [HALVES_REPLACED.format(place="")]
        mended += [] if text is whole else [FIRST_COUNTS]
        inside = _listed_warnings(sent, kind) + _cohort_warnings(sent)
        return value, (mended + _warnings(sent, {*kind.__struct_fields__, *known}) + inside)[:MAX_WARNINGS]
    except msgspec.ValidationError as error:
        raise invalid_message(error, kind=kind) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_json(error) from error


def mended_body(body: bytes) -> bytes:
    """As ingest takes bodies: without a byte order mark, with U+FFFD for half a surrogate pair, as events have it, and the
    first of each name. Raises UnicodeDecodeError."""
    return first_of_each_name(halves_replaced(without_mark(body)))


def _warnings(sent: Collection[str], known: Collection[str]) -> list[str]:
    unknown: Sequence[str] = sorted(set(sent) - set(known))
    return [f"unknown field `{name[:100]}` ignored" for name in unknown[:MAX_WARNINGS]]


def _listed_warnings(sent: Mapping[str, Raw], kind: type[Struct]) -> list[str]:
    warnings = []
    for name in set(kind.__struct_fields__) & _LISTED.keys() & sent.keys():
        for i, item in enumerate(msgspec.json.decode(sent[name], type=list[dict[str, Raw]])):
            warnings += [f"{name}[{i}]: {w}" for w in _warnings(item, _LISTED[name].__struct_fields__)]
    return warnings[:MAX_WARNINGS]


def _cohort_warnings(sent: Mapping[str, Raw]) -> list[str]:
    if "cohort" not in sent:
        return []
    # Its names alone matter here. Python's reader takes any number, so that whoever reads the field says what is wrong.
    return _warnings(unknown_fields(json.loads(bytes(sent["cohort"]), parse_int=float)), ())
