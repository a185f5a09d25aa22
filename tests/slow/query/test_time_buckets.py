"""Where hours, days, weeks and months begin, in zones whose clocks do odd things."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import Interval
from services.query.request.time_buckets import MAX_BUCKETS, bucket_starts, complete_buckets, local_time
from services.query.request.time_window import parse_time_window


def starts(since: str, until: str, interval: Interval, zone: str) -> list[str]:
    found = bucket_starts(parse_time_window(since, until, zone), interval)
    return [local_time(us, ZoneInfo(zone)).isoformat() for us in found]


@pytest.mark.parametrize(
    ("since", "until", "interval", "zone", "expected"),
    [
        ("2024-02-28", "2024-03-02", "day", "UTC", ["2024-02-28T00:00:00+00:00", "2024-02-29T00:00:00+00:00", "2024-03-01T00:00:00+00:00"]),
        # The first period begins before the window; the window's end begins no further one.
        ("2024-02-28T12:00", "2024-02-29", "day", "UTC", ["2024-02-28T00:00:00+00:00"]),
        ("2024-02-28T23:59:59.999999", "2024-02-29T00:00:00.000001", "day", "UTC", ["2024-02-28T00:00:00+00:00", "2024-02-29T00:00:00+00:00"]),
        # Monday to Monday, over a change of the clock.
        ("2024-03-27", "2024-04-03", "week", "Europe/Berlin", ["2024-03-25T00:00:00+01:00", "2024-04-01T00:00:00+02:00"]),
        ("2023-12-15", "2024-03-01", "month", "America/New_York", ["2023-12-01T00:00:00-05:00", "2024-01-01T00:00:00-05:00", "2024-02-01T00:00:00-05:00"]),
        # Midnight does not exist: the day begins at 01:00.
        ("2018-11-03", "2018-11-05", "day", "America/Sao_Paulo", ["2018-11-03T00:00:00-03:00", "2018-11-04T01:00:00-02:00"]),
        # Midnight comes twice: the day begins with the first.
        ("2023-11-05", "2023-11-06", "day", "America/Havana", ["2023-11-05T00:00:00-04:00"]),
        # 00:01 goes back to 23:01 of the day before; the day has begun all the same, and does not begin again.
        ("2008-11-01T23:30:00-03:30", "2008-11-03", "day", "America/St_Johns", ["2008-11-02T00:00:00-02:30"]),
        # 30 December was left out.
        ("2011-12-29", "2012-01-01", "day", "Pacific/Apia", ["2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"]),
        ("2024-10-27T01:30", "2024-10-27T04:00", "hour", "Europe/Berlin", ["2024-10-27T01:00:00+02:00", "2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00", "2024-10-27T03:00:00+01:00"]),
        ("2024-01-01T00:10", "2024-01-01T01:10", "hour", "Asia/Kathmandu", ["2024-01-01T00:00:00+05:45", "2024-01-01T01:00:00+05:45"]),
        # An offset with seconds cannot be written: UTC then.
        ("1971-01-01", "1971-01-02", "day", "Africa/Monrovia", ["1971-01-01T00:44:30+00:00"]),
    ],
)  # fmt: skip
def test_starts(since: str, until: str, interval: Interval, zone: str, expected: list[str]) -> None:
    assert starts(since, until, interval, zone) == expected


def test_weeks_that_begin_on_sunday() -> None:
    window = parse_time_window("2024-03-30T12:00", "2024-04-07T00:00:01", "Europe/Berlin")
    days = [local_time(us, window.zone).date().isoformat() for us in bucket_starts(window, "week", sundays=True)]
    assert days == ["2024-03-24", "2024-03-31", "2024-04-07"]
    assert bucket_starts(window, "day", sundays=True) == bucket_starts(window, "day")


def test_too_many_periods() -> None:
    assert len(bucket_starts(parse_time_window(0, MAX_BUCKETS * 3600, None), "hour")) == MAX_BUCKETS
    with pytest.raises(ApiError) as caught:
        bucket_starts(parse_time_window(0, MAX_BUCKETS * 3600 + 1, None), "hour")
    assert (caught.value.code, caught.value.field) == (ErrorCode.QUERY_TOO_EXPENSIVE, "interval")


@pytest.mark.parametrize(
    "zone", ["Europe/London", "Africa/Casablanca", "America/Asuncion", "Asia/Gaza", "Pacific/Apia"]
)
def test_every_day_of_thirty_years_begins_at_its_first_moment(zone: str) -> None:
    tz = ZoneInfo(zone)
    for year in range(1995, 2025, 2):
        for start in bucket_starts(parse_time_window(f"{year}-01-01", f"{year + 2}-01-01", zone), "day"):
            first = local_time(start, tz)
            assert local_time(start - 1, tz).date() < first.date()
            assert first.time().hour in (0, 1)


@pytest.mark.parametrize(
    ("since", "until", "interval", "zone", "now", "expected"),
    [
        ("2024-03-01", "2024-03-03", "day", "UTC", "2024-03-02T23:59:59.999999Z", [True, False]),
        ("2024-03-01", "2024-03-03", "day", "UTC", "2024-03-03T00:00:00Z", [True, True]),
        # Its day has not ended, wherever the window does.
        ("2024-03-01", "2024-03-02T12:00", "day", "UTC", "2024-03-02T13:00:00Z", [True, False]),
        ("2024-03-01", "2024-03-02T12:00", "day", "UTC", "2024-02-01T00:00:00Z", [False, False]),
        # The day of 23 hours, of 25 hours, and the one that was left out.
        ("2024-03-31", "2024-03-31T12:00", "day", "Europe/Berlin", "2024-03-31T22:00:00Z", [True]),
        ("2024-10-27", "2024-10-27T12:00", "day", "Europe/Berlin", "2024-10-27T22:59:59Z", [False]),
        ("2011-12-29", "2011-12-29T12:00", "day", "Pacific/Apia", "2011-12-30T10:00:00Z", [True]),
        ("2011-12-29", "2011-12-29T12:00", "day", "Pacific/Apia", "2011-12-30T09:59:59Z", [False]),
        ("2024-03-01T10:30", "2024-03-01T11:30", "hour", "Asia/Kathmandu", "2024-03-01T05:20:00Z", [True, False]),
        # A clock that was put back by half an hour: these begin at 14:00 and 15:00 UTC.
        ("2024-04-07T01:00", "2024-04-07T02:00", "hour", "Australia/Lord_Howe", "2024-04-06T15:59:59Z", [True, False]),
        ("2024-04-07T01:00", "2024-04-07T02:00", "hour", "Australia/Lord_Howe", "2024-04-06T16:00:00Z", [True, True]),
        ("2024-03-06", "2024-03-07", "week", "UTC", "2024-03-10T23:00:00Z", [False]),
        ("2024-03-06", "2024-03-07", "week", "UTC", "2024-03-11T00:00:00Z", [True]),
        ("2024-02-10", "2024-02-11", "month", "UTC", "2024-02-29T23:00:00Z", [False]),
        ("2024-02-10", "2024-02-11", "month", "UTC", "2024-03-01T00:00:00Z", [True]),
        ("2148-12-31", "2149-01-01", "month", "UTC", "2024-03-01T00:00:00Z", [False]),
    ],
)
def test_what_has_ended_is_complete(
    since: str, until: str, interval: Interval, zone: str, now: str, expected: list[bool]
) -> None:
    window = parse_time_window(since, until, zone)
    starts = bucket_starts(window, interval)
    assert complete_buckets(starts, window.zone, interval, datetime.fromisoformat(now)) == expected


def test_a_week_that_begins_on_sunday_ends_on_saturday() -> None:
    window = parse_time_window("2024-03-06", "2024-03-07", "UTC")
    starts = bucket_starts(window, "week", sundays=True)
    at = [datetime(2024, 3, day, tzinfo=UTC) for day in (9, 10)]
    assert [complete_buckets(starts, window.zone, "week", now, sundays=True) for now in at] == [[False], [True]]
