"""The body of a saved cohort -> a rule or a list of ids, or an ApiError that names the field. Pure."""

from collections.abc import Collection, Iterator
from datetime import datetime

import msgspec
from msgspec import Raw, Struct, field

from services.contract.api.cohorts import MAX_COHORT_IDS, MAX_RULE_BYTES
from services.contract.api.fields import Cohort
from services.contract.api.ingest import Id
from services.contract.api.validation import invalid_field, invalid_message
from services.query.request.cohorts import parse_cohort
from services.query.request.decode import decode
from services.query.request.relative_windows import absolute_cohort, at_any_time


class NewCohort(Struct, frozen=True):
    """One of both; `rule` is as it was sent."""

    rule: Raw | None
    ids: Collection[str] = ()


class _Sent(Struct, kw_only=True):
    cohort: Raw = field(default_factory=Raw)
    ids: list[Id] | None = None


def parse_saved_cohort(body: bytes, now: datetime) -> tuple[NewCohort, list[str]]:
    """The cohort and the warnings."""
    sent, warnings = decode(body, _Sent)
    has_rule = bytes(sent.cohort) not in (b"", b"null")
    if has_rule == (sent.ids is not None):
        raise invalid_field("cohort", "or `ids` is to be sent, one of both")
    if sent.ids is None:
        _check_rule(sent.cohort, now)
        return NewCohort(Raw(bytes(sent.cohort))), warnings
    ids = dict.fromkeys(sent.ids)
    if not ids:
        raise invalid_field("ids", "is empty: it needs an id at least")
    if len(ids) > MAX_COHORT_IDS:
        raise invalid_field("ids", f"has {len(ids)} different ids; at most {MAX_COHORT_IDS} are taken")
    if any("\0" in one for one in ids):
        raise invalid_field("ids", "must not contain the character NUL")
    return NewCohort(None, ids), warnings


def _check_rule(rule: Raw, now: datetime) -> None:
    if len(bytes(rule)) > MAX_RULE_BYTES:
        raise invalid_field("cohort", f"has {len(bytes(rule))} bytes; at most {MAX_RULE_BYTES} are taken")
    try:
        cohort = msgspec.json.decode(rule, type=Cohort)
    except msgspec.ValidationError as error:
        raise invalid_message(error, "cohort", kind=Cohort) from error
    if any(_saved(cohort)):
        raise invalid_field("cohort", "names a saved cohort; a saved one is made of rules alone")
    parse_cohort(absolute_cohort(at_any_time(cohort), now))


def _saved(cohort: Cohort) -> Iterator[bool]:
    yield cohort.saved is not None
    for part in (*(cohort.all_of or ()), *(cohort.any_of or ()), *([cohort.none_of] if cohort.none_of else ())):
        yield from _saved(part)
