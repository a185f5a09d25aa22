"""Random histories with identify and group calls for hypothesis, filters about them, and how they get into the store."""

import json
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

from hypothesis import strategies as st

from services.contract.tables import IDENTITY_LOG
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import insert_lines
from tests.support.histories import IDS, ODD_MOMENTS, PROPERTY_VALUES, delays, histories, offsets, store
from tests.support.oracle import Event
from tests.support.oracle_people import Call, PeopleHistory

TRAITS = ["plan", "a", "a.b", ""]
GROUP_TYPES = ["company", "téam '"]
GROUPS = ["acme", "ü '\\", "1"]
# Few values, so that conditions often hold.
VALUES: list[Any] = ["pro", "", 1, 1.5, True, None, {"b": "pro"}, ["pro", 1], 2**53 + 1]

# What events say of their own groups: keys, and what is none.
OWN_GROUPS: list[Any] = [
    {"company": "acme"},
    {"company": "ü '\\", "téam '": "1"},
    {"company": 1},
    {"company": ""},
    {"company": None, "téam '": ["acme"]},
    {},
    "acme",
]
traits = st.dictionaries(st.sampled_from(TRAITS), st.sampled_from([*VALUES, *PROPERTY_VALUES[:6]]), max_size=3)
trait_keys = st.sampled_from(
    [
        *[f"person.{name}" for name in TRAITS],
        *[f"group.{kind}" for kind in GROUP_TYPES],
        *[f"group.{kind}.{name}" for kind in GROUP_TYPES for name in TRAITS],
        "group.nothing",
    ]
)
_scalars = st.sampled_from([v for v in VALUES if not isinstance(v, list | dict)] + GROUPS)
_conditions = st.one_of(
    _scalars,
    st.lists(_scalars, max_size=3),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"ne": _scalars}),
    st.fixed_dictionaries({"not_in": st.lists(_scalars, max_size=3)}),
    st.fixed_dictionaries({"contains": _scalars}),
    st.fixed_dictionaries({"gte": st.sampled_from([1, "b"]), "lt": st.sampled_from([2, "z"])}),
)
trait_filters = st.dictionaries(trait_keys, _conditions, min_size=1, max_size=2)


@st.composite
def people_histories(draw: st.DrawFn, zone: str, max_events: int = 40) -> PeopleHistory:
    """Calls often at the same time, with and without traits."""
    history = draw(histories(zone, max_events))
    times = draw(st.lists(offsets, min_size=1, max_size=4))
    moment = ODD_MOMENTS[zone]
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["identify", "link", "group", "group"]),
                st.sampled_from([*IDS, ""]),
                st.sampled_from(times),
                traits,
                st.sampled_from(GROUP_TYPES),
                st.sampled_from(GROUPS),
                st.uuids(),
                traits,
                delays,
            ),
            max_size=15,
            unique_by=lambda row: row[6],
        )
    )
    own_groups = draw(st.lists(st.sampled_from(OWN_GROUPS), max_size=len(history.events)))
    return PeopleHistory(
        [
            *(_with_groups(event, own) for event, own in zip(history.events, own_groups, strict=False)),
            *history.events[len(own_groups) :],
        ],
        history.person_of,
        [
            Call(
                event_id=str(event_id),
                kind=kind,
                distinct_id=distinct_id,
                time=moment + timedelta(microseconds=offset),
                received=moment + timedelta(microseconds=offset + delay),
                traits=json.dumps(values),
                set_once=json.dumps(once),
                group_type=group_type if kind == "group" else "",
                group_key=key if kind == "group" else "",
            )
            for kind, distinct_id, offset, values, group_type, key, event_id, once, delay in rows
            if distinct_id or kind == "group"  # a group's traits may be said by nobody
        ],
    )


def _with_groups(event: Event, own: Any) -> Event:
    return replace(event, properties=json.dumps({**json.loads(event.properties), "$groups": own}))


def call_line(project: str, call: Call) -> bytes:
    row = {
        "project_id": project,
        "event_id": call.event_id,
        "kind": call.kind,
        "distinct_id": call.distinct_id,
        "timestamp": call.time.astimezone(UTC).isoformat(),
        "received_at": (call.received or call.time).astimezone(UTC).isoformat(),
        "traits": call.traits,
        "set_once": call.set_once,
        "group_type": call.group_type,
        "group_key": call.group_key,
    }
    return json.dumps(row).encode()


def store_people(settings: ClickHouseSettings, histories: dict[str, PeopleHistory], repeats: int = 0) -> None:
    """By project; the first `repeats` events and calls are stored twice."""
    store(settings, dict(histories), repeats)
    lines = [call_line(project, call) for project, history in histories.items() for call in history.calls]
    insert_lines(settings, IDENTITY_LOG, b"\n".join(lines))
    insert_lines(settings, IDENTITY_LOG, b"\n".join(lines[:repeats]))
