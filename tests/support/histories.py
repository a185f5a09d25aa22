"""Random histories of a project for hypothesis, and how they get into the store."""

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from services.contract.tables import EVENTS, PERSON_IDS
from services.runtime.settings import ClickHouseSettings
from tests.support.engine import insert_lines
from tests.support.oracle import Event, History

NAMES = ["home", "view", "cart", "pay", "páy ✓"]
IDS = ["u1", "u2", "u3", "u4", "u5", "ü6 '\\", "u7"]
# A moment at which something is odd about the local calendar, or nothing is.
ODD_MOMENTS = {
    "UTC": datetime(2024, 2, 29, 0, 0, tzinfo=UTC),
    "Europe/Berlin": datetime(2024, 3, 31, 1, 0, tzinfo=UTC),  # 02:00 -> 03:00
    "America/New_York": datetime(2023, 11, 5, 6, 0, tzinfo=UTC),  # 02:00 -> 01:00
    "America/Sao_Paulo": datetime(2018, 11, 4, 3, 0, tzinfo=UTC),  # midnight -> 01:00
    "America/Havana": datetime(2023, 11, 5, 5, 0, tzinfo=UTC),  # 01:00 -> midnight again
    "Pacific/Apia": datetime(2011, 12, 30, 10, 0, tzinfo=UTC),  # 30 December left out
    "Asia/Kathmandu": datetime(2024, 1, 1, 18, 15, tzinfo=UTC),  # midnight, 5:45 ahead
    "Australia/Lord_Howe": datetime(2024, 4, 6, 15, 0, tzinfo=UTC),  # half an hour back
}
PROPERTY_VALUES: list[Any] = [
    *["", "1", "pro", "true", "null", "é ✓ \" \\ ' \t\n", "a\x00b", "Z", "[1]"],
    *[0, 1, 1.0, -1, 0.1, 2, 1e3, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 1e300, -1e-300, 123456.123456789],
    *[True, False, None],
    *[[], [1, "1", None, True, 0.1], ["pro", "a\x00b"], {}, {"b": 1}, {"b": {"c": "pro"}}, {"b": None}, [{"b": 1}]],
]
PROPERTY_KEYS = ["a", "a.b", "a.b.c", "b", "n", "schlüssel 'x'", ""]

offsets = st.one_of(
    st.sampled_from([0, 1, -1, 3_600_000_000, -3_600_000_000, 86_400_000_000, -86_400_000_000, 1_800_000_000]),
    st.integers(-4 * 86_400, 4 * 86_400).map(lambda seconds: seconds * 1_000_000),
)
# From an event's or call's time to its receipt.
delays = st.sampled_from([0, 0, 1, 2, 5_000_000])
properties = st.dictionaries(st.sampled_from(PROPERTY_KEYS), st.sampled_from(PROPERTY_VALUES), max_size=3)


@st.composite
def histories(draw: st.DrawFn, zone: str, max_events: int = 40) -> History:
    """Events close to the zone's odd moment, many of them at the same time."""
    times = draw(st.lists(offsets, min_size=1, max_size=8))
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(NAMES), st.sampled_from(IDS), st.sampled_from(times), properties, st.uuids(), delays
            ),
            max_size=max_events,
            unique_by=lambda row: row[4],
        )
    )
    person_of = draw(st.dictionaries(st.sampled_from(IDS), st.sampled_from([*IDS[:3], "someone"]), max_size=5))
    moment = ODD_MOMENTS[zone]
    return History(
        [
            Event(
                str(event_id),
                name,
                distinct_id,
                moment + timedelta(microseconds=offset),
                json.dumps(values),
                moment + timedelta(microseconds=offset + delay),
            )
            for name, distinct_id, offset, values, event_id, delay in rows
        ],
        person_of,
    )


@st.composite
def dense_histories(draw: st.DrawFn, zone: str, max_events: int = 40) -> History:
    """Many events of two names and few people. From a seed, because lists that are drawn are mostly short."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    times = [rng.choice([0, 1, 3_600_000_000, rng.randint(-345_600, 345_600) * 1_000_000]) for _ in range(12)]
    events = []
    for _ in range(rng.randint(max_events // 2, max_events)):
        time = ODD_MOMENTS[zone] + timedelta(microseconds=rng.choice(times))
        values = {key: rng.choice(PROPERTY_VALUES) for key in rng.sample(PROPERTY_KEYS, rng.randint(0, 3))}
        received = time + timedelta(microseconds=rng.choice([0, 0, 1, 2]))
        event_id = str(uuid.UUID(int=rng.getrandbits(128)))
        name, distinct_id = rng.choice(NAMES[:2]), rng.choice(IDS[:4])
        events.append(Event(event_id, name, distinct_id, time, json.dumps(values), received))
    return History(events, {IDS[0]: IDS[1], IDS[1]: IDS[1]} if rng.random() < 0.5 else {})


@st.composite
def wide_windows(draw: st.DrawFn, zone: str) -> tuple[datetime, datetime]:
    """As often all of a history as part of it."""
    whole = ODD_MOMENTS[zone] - timedelta(days=5), ODD_MOMENTS[zone] + timedelta(days=5)
    return draw(st.one_of(st.just(whole), windows(zone)))


@st.composite
def windows(draw: st.DrawFn, zone: str) -> tuple[datetime, datetime]:
    """Often with a border at an event's time or at a local midnight."""
    since, until = sorted(draw(st.lists(offsets, min_size=2, max_size=2, unique=True)))
    moment = ODD_MOMENTS[zone]
    window = moment + timedelta(microseconds=since), moment + timedelta(microseconds=until)
    if draw(st.booleans()):
        window = _midnight(window[0], zone), _midnight(window[1], zone) + timedelta(days=1)
    return window


def _midnight(time: datetime, zone: str) -> datetime:
    local = time.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    return local.astimezone(UTC)


def event_line(project: str, event: Event) -> bytes:
    return json.dumps(
        {
            "project_id": project,
            "event_id": event.event_id,
            "event": event.event,
            "distinct_id": event.distinct_id,
            "timestamp": event.time.astimezone(UTC).isoformat(),
            "received_at": (event.received or event.time).astimezone(UTC).isoformat(),
            "properties": event.properties,
        }
    ).encode()


def store(settings: ClickHouseSettings, histories: dict[str, History], repeats: int = 0) -> None:
    """By project. The first `repeats` events are stored again in a block of their own, and superseded merges too."""
    lines = [event_line(project, event) for project, history in histories.items() for event in history.events]
    insert_lines(settings, EVENTS, b"\n".join(lines))
    insert_lines(settings, EVENTS, b"\n".join(lines[:repeats]))
    people = [row for project, history in histories.items() for row in _person_rows(project, history)]
    insert_lines(settings, PERSON_IDS, "\n".join(json.dumps(row) for row in people).encode())


def _person_rows(project: str, history: History) -> list[dict[str, Any]]:
    """As the worker leaves them: each row with its set's key, the person's id in the row of the key. One person is as
    before there were keys: the person's id is in each row."""
    rows: list[dict[str, Any]] = []
    people = sorted(set(history.person_of.values()))
    # Not one whose id is another person's: that could be the other's key.
    old = next((person for person in people if history.person_of.get(person, person) == person), None)
    for person in people:
        ids = [one for one, of in history.person_of.items() if of == person]
        if person != old:
            ids += [person] * (person not in history.person_of)
        key = person if person == old else max(ids)
        for one in ids:
            row: dict[str, Any] = {"project_id": project, "distinct_id": one}
            rows.append(row | {"person_id": str(uuid.uuid4()), "version": 1, "name": "once"})
            named = one == key and person != old
            rows.append(row | {"person_id": key, "version": 2, "name": person if named else ""})
    return rows
