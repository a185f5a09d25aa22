"""A cohort as it is sent -> a tree of rules about people. Pure; services/query/sql/cohorts.py turns it into SQL.

The leaves are sets of people that can be listed: those who did something so many times, those who have a trait. What
is said of all others (`did_not`, `at_most`, `ne`) is the opposite of a leaf.
"""

from collections.abc import Iterator

from msgspec import Raw, Struct

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import MAX_COHORT_RULES, Cohort
from services.contract.api.validation import invalid_field, refuse_nul
from services.query.request.filters import Condition, parse_filter, parse_filter_of
from services.query.request.relative_windows import WordedCohort
from services.query.request.time_window import TimeWindow, parse_time_window

MAX_COHORT_DEPTH = 10
_KINDS = {
    "all_of": "and",
    "any_of": "or",
    "none_of": "not",
    "did": "did",
    "did_not": "did_not",
    "traits": "traits",
    "saved": "saved",
}
_KNOWN = frozenset(Cohort.__struct_encode_fields__)
_COUNTS = ("at_least", "at_most", "exactly")
_OF_EVENTS = ("since", "until", "timezone", "last", "this", "previous", "whole_periods", "filter", *_COUNTS)


class ListedCohort(Cohort, kw_only=True):
    """A saved list: what its name stands for was put in."""

    list_id: str


class Did(Struct, frozen=True):
    """People with `times` (1 or more) such events in the window, or with so many and no more. `words`: what the window was
    called, where it was said in words."""

    event: str
    window: TimeWindow
    conditions: list[Condition]
    times: int
    exactly: bool = False
    words: tuple[object, ...] = ()


class Has(Struct, frozen=True):
    """People with a trait for which the condition holds; it is one that fails where the trait is missing."""

    condition: Condition


class Listed(Struct, frozen=True):
    """People with an id of an uploaded list. Without an id: the list is looked up when the query runs."""

    list_id: str


class Not(Struct, frozen=True):
    """All other people."""

    rule: "Rule"


class Every(Struct, frozen=True):
    """People for whom all rules hold."""

    rules: list["Rule"]


class Either(Struct, frozen=True):
    """People for whom one of the rules holds."""

    rules: list["Rule"]


Leaf = Did | Has | Listed
Rule = Did | Has | Listed | Not | Every | Either


def parse_cohort(cohort: Cohort) -> Rule:
    """Raises ApiError naming the place, such as `cohort.and[1].did`."""
    rule = _parse(cohort, "cohort", 1)
    count = sum(1 for _ in leaves(rule))
    if count > MAX_COHORT_RULES:
        raise invalid_field(
            "cohort", f"has {count} rules about events and traits; at most {MAX_COHORT_RULES} are taken"
        )
    return rule


def check_saved(cohort: Cohort, place: str) -> None:
    """Of one that names a saved cohort: nothing else goes with it. Raises ApiError."""
    _parse(cohort, place, 1)


def as_said(rule: Rule | None) -> object:
    """What a cursor is bound to: a window in words is its words, which stay the same while its times go on."""
    if isinstance(rule, Did) and rule.words:
        return rule.event, rule.words, rule.conditions, rule.times, rule.exactly
    if isinstance(rule, Not):
        return Not(as_said(rule.rule))  # type: ignore[arg-type]
    if isinstance(rule, Every | Either):
        return type(rule)([as_said(part) for part in rule.rules])  # type: ignore[misc]
    return rule


def leaves(rule: Rule) -> Iterator[Leaf]:
    """From left to right."""
    if isinstance(rule, Did | Has | Listed):
        yield rule
    elif isinstance(rule, Not):
        yield from leaves(rule.rule)
    else:
        for part in rule.rules:
            yield from leaves(part)


def unknown_fields(sent: object, place: str = "cohort", depth: int = 1) -> list[str]:
    """The places of fields that no cohort has. Raises ApiError for one that is too deep, before anything else walks it."""
    if not isinstance(sent, dict):
        return []
    _check_depth(place, depth)
    found = [f"{place}.{name}" for name in sorted(set(sent) - _KNOWN)]
    for kind in ("and", "or"):
        parts = sent.get(kind)
        for i, part in enumerate(parts if isinstance(parts, list) else []):
            found += unknown_fields(part, f"{place}.{kind}[{i}]", depth + 1)
    return found + unknown_fields(sent.get("not"), f"{place}.not", depth + 1)


def _check_depth(place: str, depth: int) -> None:
    if depth > MAX_COHORT_DEPTH:
        raise invalid_field(place, f"goes deeper than {MAX_COHORT_DEPTH} levels")


def _parse(cohort: Cohort, place: str, depth: int) -> Rule:
    _check_depth(place, depth)
    kinds = [name for name in _KINDS if _given(cohort, name)]
    if len(kinds) != 1:
        raise invalid_field(place, f"must have exactly one of {', '.join(f'`{name}`' for name in _KINDS.values())}")
    (kind,) = kinds
    if kind in ("did", "did_not"):
        return _did(cohort, place)
    for name in _OF_EVENTS:
        if _given(cohort, name):
            raise invalid_field(f"{place}.{name}", "belongs to `did` and `did_not` only")
    if cohort.saved is not None:
        return Listed(cohort.list_id if isinstance(cohort, ListedCohort) else "")
    if kind == "traits":
        return _traits(cohort.traits, place)
    if cohort.none_of is not None:
        return Not(_parse(cohort.none_of, f"{place}.not", depth + 1))
    parts = cohort.all_of or cohort.any_of or []
    rules = [_parse(part, f"{place}.{_KINDS[kind]}[{i}]", depth + 1) for i, part in enumerate(parts)]
    return Every(rules) if kind == "all_of" else Either(rules)


def _given(cohort: Cohort, name: str) -> bool:
    value = getattr(cohort, name)
    return bytes(value) not in (b"", b"null") if isinstance(value, Raw) else value is not None


def _did(cohort: Cohort, place: str) -> Rule:
    event, name = (cohort.did, "did") if cohort.did is not None else (cohort.did_not or "", "did_not")
    refuse_nul(event, f"{place}.{name}")
    if cohort.since is None or cohort.until is None:
        missing = f"{place}.{'since' if cohort.since is None else 'until'}"
        raise ApiError(
            ErrorCode.MISSING_FIELD,
            f"`{missing}` is missing: `{name}` needs a window (`since` and `until`, or `last`, `this`, `previous`).",
            field=missing,
        )
    counts = [(count, getattr(cohort, count)) for count in _COUNTS if getattr(cohort, count) is not None]
    if len(counts) > (1 if name == "did" else 0):
        raise invalid_field(f"{place}.{counts[-1][0]}", "is one too many: `did` takes one number, `did_not` none")
    try:
        window = parse_time_window(cohort.since, cohort.until, cohort.timezone)
        conditions = parse_filter(cohort.filter)
    except ApiError as error:
        raise error.within(place) from error
    words = cohort.words if isinstance(cohort, WordedCohort) else ()
    bound, times = counts[0] if counts else ("at_least", 1)
    if name == "did_not" or (bound, times) == ("exactly", 0):
        bound, times = "at_most", 0
    if bound == "at_most":
        return Not(Did(event, window, conditions, times + 1, words=words))
    return Did(event, window, conditions, times, bound == "exactly", words)


def _traits(traits: Raw, place: str) -> Rule:
    try:
        conditions = parse_filter_of(traits, "traits")
    except ApiError as error:
        raise error.within(place) from error
    for condition in conditions:
        if not condition.is_trait:
            raise invalid_field(
                f"{place}.traits",
                f"has the key `{condition.key[:100]}`: only `person.<trait>`, `group.<type>` and "
                "`group.<type>.<trait>` are taken",
            )
    if not conditions:
        raise invalid_field(f"{place}.traits", "has no condition")
    rules: list[Rule] = []
    for condition in conditions:
        positive = condition.positive()
        rules.append(Has(condition) if positive is condition else Not(Has(positive)))
    return rules[0] if len(rules) == 1 else Every(rules)
