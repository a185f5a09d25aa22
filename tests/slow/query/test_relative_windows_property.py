"""Windows in words equal those of a walk through the calendar."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.contract.api.fields import WindowedQuery
from services.query.request.relative_windows import absolute
from tests.support.histories import ODD_MOMENTS
from tests.support.oracle_windows import begin_of, end_of, label_of, months_before
from tests.unit.query.test_relative_windows import found, trends

# Samoa has left out a day, in 2011. A query is asked today, and counts back no such day.
zones = st.sampled_from(sorted(set(ODD_MOMENTS) - {"Australia/Lord_Howe", "Pacific/Apia"}))


moments = st.one_of(
    zones.map(lambda zone: ODD_MOMENTS[zone]),
    st.datetimes(datetime(2016, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)),
)


UNITS = {"d": "day", "w": "week", "mo": "month", "months": "month"}


@given(zones, moments, st.integers(-48, 48), st.sampled_from(sorted(UNITS)), st.integers(1, 3))
def test_the_last_ones_are_whole_and_the_current_one_goes_up_to_today(
    zone: str, moment: datetime, hours: int, unit: str, number: int
) -> None:
    now = moment + timedelta(hours=hours, minutes=7)
    label = label_of(UNITS[unit], ZoneInfo(zone))
    expected = begin_of(label, now, number), end_of(label_of("day", ZoneInfo(zone)), now)
    assert found(WindowedQuery(last=f"{number}{unit}", timezone=zone), now) == expected


@given(zones, moments, st.integers(-48, 48), st.sampled_from(["day", "week", "month", "quarter", "year"]))
def test_this_and_the_previous_one(zone: str, moment: datetime, hours: int, unit: Any) -> None:
    now = moment + timedelta(hours=hours, minutes=7)
    label, day = label_of(unit, ZoneInfo(zone)), label_of("day", ZoneInfo(zone))
    begin = begin_of(label, now)
    assert found(WindowedQuery(this=unit, timezone=zone), now) == (begin, end_of(day, now))
    before = begin_of(label, now, 1)
    assert found(WindowedQuery(previous=unit, timezone=zone), now) == (before, begin)


@given(st.sampled_from(["UTC", "Asia/Kathmandu", "Europe/Berlin"]), moments, st.integers(0, 200), st.integers(1, 30))
def test_the_last_hours(zone: str, moment: datetime, minutes: int, number: int) -> None:
    now = moment + timedelta(minutes=minutes)
    label = label_of("hour", ZoneInfo(zone))
    assert found(WindowedQuery(last=f"{number}h", timezone=zone), now) == (
        begin_of(label, now, number),
        end_of(label, now),
    )


@given(moments, st.sampled_from(["month", "quarter", "year"]))
def test_the_one_before_a_current_one_goes_as_far(moment: datetime, unit: Any) -> None:
    months = {"month": 1, "quarter": 3, "year": 12}[unit]
    asked = absolute(trends(this=unit, compare="previous"), moment)
    assert asked.before is not None
    until = datetime.fromisoformat(asked.query.until).date()
    assert datetime.fromisoformat(asked.before.query.until).date() == months_before(until, months)
