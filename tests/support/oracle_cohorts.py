"""Who is in a cohort, by brute force: each rule is asked of each person. Also cohorts for hypothesis."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.support.histories import NAMES, ODD_MOMENTS, windows
from tests.support.oracle_people import PeopleHistory, filtered, person_holds
from tests.support.people import trait_filters


def cohort(history: PeopleHistory, rule: Mapping[str, Any]) -> set[str]:
    return {person for person in everybody(history) if _in(history, person, rule)}


def of_cohort(history: PeopleHistory, rule: Mapping[str, Any]) -> PeopleHistory:
    """With the events of the cohort's people only."""
    people = cohort(history, rule)
    return replace(history, events=[event for event in history.events if history.person(event) in people])


def everybody(history: PeopleHistory) -> set[str]:
    return {
        *map(history.person, history.events),
        *(history.person_of_id(call.distinct_id) for call in history.calls if call.distinct_id),
        *history.person_of.values(),
    }


def _in(history: PeopleHistory, person: str, rule: Mapping[str, Any]) -> bool:
    if "and" in rule:
        return all(_in(history, person, part) for part in rule["and"])
    if "or" in rule:
        return any(_in(history, person, part) for part in rule["or"])
    if "not" in rule:
        return not _in(history, person, rule["not"])
    if "traits" in rule:
        return person_holds(history, person, rule["traits"])
    times = _times(history, person, rule)
    if "did_not" in rule:
        return times == 0
    if "at_most" in rule:
        return bool(times <= rule["at_most"])
    if "exactly" in rule:
        return bool(times == rule["exactly"])
    return bool(times >= rule.get("at_least", 1))


def _times(history: PeopleHistory, person: str, rule: Mapping[str, Any]) -> int:
    since, until = datetime.fromisoformat(rule["since"]), datetime.fromisoformat(rule["until"])
    inside = filtered(history, rule.get("filter", {})).within(since, until)
    name = rule.get("did", rule.get("did_not"))
    return sum(1 for event in inside if event.event == name and history.person(event) == person)


@st.composite
def _window(draw: st.DrawFn) -> dict[str, str]:
    if draw(st.booleans()):  # long enough for most events
        moment = ODD_MOMENTS["Europe/Berlin"]
        since, until = moment - timedelta(days=3), moment + timedelta(days=3)
    else:
        since, until = draw(windows("Europe/Berlin"))
    return {"since": since.isoformat(), "until": until.isoformat()}


@st.composite
def _leaf(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["did", "did", "did_not", "traits"]))
    if kind == "traits":
        return {"traits": draw(trait_filters)}
    leaf: dict[str, Any] = {kind: draw(st.sampled_from(NAMES)), **draw(_window())}
    if kind == "did" and draw(st.booleans()):
        bound = draw(st.sampled_from(["at_least", "at_most", "exactly"]))
        leaf[bound] = draw(st.integers(1 if bound == "at_least" else 0, 3))
    if draw(st.integers(0, 3)) == 0:
        leaf["filter"] = draw(st.one_of(trait_filters, st.just({"n": {"exists": True}})))
    return leaf


# About histories in the zone Europe/Berlin.
cohorts = st.recursive(
    _leaf(),
    lambda rules: st.one_of(
        st.lists(rules, min_size=1, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(rules, min_size=1, max_size=3).map(lambda parts: {"or": parts}),
        rules.map(lambda rule: {"not": rule}),
    ),
    max_leaves=5,
)
