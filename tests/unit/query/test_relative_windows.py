"""Windows in words equal those of a walk through the calendar; whole periods, and the window before."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.fields import Cohort
from services.contract.api.funnel import FunnelQuery, FunnelStep
from services.contract.api.trends import TrendSeries, TrendsQuery
from services.query.request.relative_windows import absolute, absolute_cohort

NOW = datetime(2026, 3, 18, 13, 45, 6, 7, tzinfo=UTC)  # a Wednesday


def found(query: Any, now: datetime = NOW) -> tuple[datetime, datetime]:
    asked = absolute(query, now).query
    return datetime.fromisoformat(asked.since), datetime.fromisoformat(asked.until)


def trends(**said: Any) -> TrendsQuery:
    return TrendsQuery(series=[TrendSeries(event="a")], **said)


def text(times: tuple[datetime, datetime]) -> str:
    return " ".join(time.isoformat().removesuffix(":00+00:00").removesuffix("T00:00") for time in times)


@pytest.mark.parametrize(
    ("said", "expected", "before"),
    [
        ({"last": "7d"}, "2026-03-11 2026-03-19", "2026-03-03 2026-03-11"),
        ({"last": "7d", "whole_periods": True}, "2026-03-11 2026-03-18", "2026-03-04 2026-03-11"),
        ({"last": "2h"}, "2026-03-18T11:00 2026-03-18T14:00", "2026-03-18T08:00 2026-03-18T11:00"),
        ({"last": "2w", "interval": "week"}, "2026-03-02 2026-03-19", "2026-02-09 2026-02-26"),
        ({"last": "2w", "interval": "week", "whole_periods": True}, "2026-03-02 2026-03-16", "2026-02-16 2026-03-02"),
        ({"last": "1mo", "interval": "hour"}, "2026-02-01 2026-03-18T14:00", "2025-12-01 2026-01-18T14:00"),
        ({"last": "2months", "interval": "month", "whole_periods": True}, "2026-01-01 2026-03-01", "2025-11-01 2026-01-01"),
        ({"last": "1month"}, "2026-02-01 2026-03-19", "2025-12-01 2026-01-19"),
        ({"last": "1month", "interval": "month", "whole_periods": True}, "2026-02-01 2026-03-01", "2026-01-01 2026-02-01"),
        ({"this": "week", "week_start": "sunday"}, "2026-03-15 2026-03-19", "2026-03-08 2026-03-12"),
        ({"this": "month"}, "2026-03-01 2026-03-19", "2026-02-01 2026-02-19"),
        ({"this": "quarter", "whole_periods": True}, "2026-01-01 2026-03-18", "2025-10-01 2025-12-18"),
        ({"this": "year"}, "2026-01-01 2026-03-19", "2025-01-01 2025-03-19"),
        ({"this": "day"}, "2026-03-18 2026-03-19", "2026-03-17 2026-03-18"),
        ({"previous": "month"}, "2026-02-01 2026-03-01", "2026-01-01 2026-02-01"),
        ({"previous": "quarter"}, "2025-10-01 2026-01-01", "2025-07-01 2025-10-01"),
        ({"since": "2026-03-01", "until": "2026-03-11"}, "2026-03-01 2026-03-11", "2026-02-19 2026-03-01"),
        ({"since": "2026-03-01T12:00", "until": "2026-03-01T18:00"}, "2026-03-01T12:00 2026-03-01T18:00", "2026-03-01T06:00 2026-03-01T12:00"),
        ({"since": "2026-03-01", "until": "2026-05-01", "whole_periods": True}, "2026-03-01 2026-03-18", "2026-02-12 2026-03-01"),
        ({"since": "2026-01-05", "until": "2026-05-01", "interval": "month", "whole_periods": True}, "2026-01-05 2026-03-01", "2025-11-11 2026-01-05"),
        ({"since": "2025-01-05", "until": "2025-05-01", "whole_periods": True}, "2025-01-05 2025-05-01", "2024-09-11 2025-01-05"),
    ],
)  # fmt: skip
def test_windows_and_those_before(said: dict[str, Any], expected: str, before: str) -> None:
    query = trends(**said, compare="previous")
    assert text(found(query)) == expected
    asked = absolute(query, NOW)
    assert asked.before is not None
    assert (
        text((datetime.fromisoformat(asked.before.query.since), datetime.fromisoformat(asked.before.query.until)))
        == before
    )
    assert asked.window is not None
    assert text((asked.window.since, asked.window.until)) == expected
    # The one before is asked as anybody would ask it alone.
    assert absolute(asked.before.query, NOW) == (asked.before.query, None, None)


def test_across_a_change_of_clocks_days_stay_days() -> None:
    query = trends(since="2026-03-29", until="2026-03-31", timezone="Europe/Berlin", compare="previous")
    before = absolute(query, NOW).before
    assert before is not None
    assert text(found(before.query)) == "2026-03-26T23:00 2026-03-28T23:00"


@pytest.mark.parametrize(
    ("zone", "said", "since", "until"),
    [
        # On the last Friday of April, and on a Sunday of September, a day began at 1 o'clock.
        ("Africa/Cairo", {"since": "2025-04-25", "until": "2025-04-28"}, "2025-04-22", "2025-04-25"),
        ("America/Santiago", {"since": "2025-09-01", "until": "2025-09-07"}, "2025-08-26", "2025-09-01"),
        ("America/Santiago", {"since": "2025-09-07", "until": "2025-09-14"}, "2025-08-31", "2025-09-07"),
        ("America/Asuncion", {"since": "2017-10-01", "until": "2018-01-01"}, "2017-07-01", "2017-10-01"),
    ],
)
def test_a_day_that_began_at_one_is_compared_with_whole_days(
    zone: str, said: dict[str, Any], since: str, until: str
) -> None:
    query = trends(**said, timezone=zone, compare="previous")
    before = absolute(query, NOW).before
    assert before is not None
    first, end = (
        datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for day in (since, until)
    )
    assert found(before.query) == (first, end)


@pytest.mark.parametrize(
    ("today", "said", "before"),
    [
        ("2026-03-27", {"this": "month"}, "2026-02-01 2026-02-28"),
        ("2026-03-28", {"this": "month"}, "2026-02-01 2026-03-01"),
        ("2026-03-30", {"this": "month"}, "2026-02-01 2026-03-01"),
        ("2026-03-30", {"this": "month", "interval": "hour"}, "2026-02-01 2026-03-01"),
        ("2026-03-31", {"this": "month"}, "2026-02-01 2026-03-01"),
        ("2026-05-30", {"this": "quarter"}, "2026-01-01 2026-03-01"),
        ("2028-02-28", {"this": "year"}, "2027-01-01 2027-03-01"),
        ("2028-02-29", {"this": "year"}, "2027-01-01 2027-03-01"),
        ("2026-12-30", {"last": "1months"}, "2026-09-01 2026-10-31"),
        ("2026-10-30", {"last": "1months", "interval": "month"}, "2026-07-01 2026-08-31"),
        ("2026-07-30", {"last": "4months"}, "2025-10-01 2026-03-01"),
    ],
)
def test_up_to_a_day_that_the_month_before_has_not_is_up_to_its_end(
    today: str, said: dict[str, Any], before: str
) -> None:
    asked = absolute(trends(**said, compare="previous"), datetime.fromisoformat(f"{today}T15:20").replace(tzinfo=UTC))
    assert asked.before is not None
    assert text(found(asked.before.query)) == before


def test_without_an_interval_whole_days_count_and_of_hours_whole_hours() -> None:
    steps = [FunnelStep(event="a"), FunnelStep(event="b")]
    assert text(found(FunnelQuery(steps=steps, this="month", whole_periods=True))) == "2026-03-01 2026-03-18"
    assert text(found(FunnelQuery(steps=steps, last="3h", whole_periods=True))) == "2026-03-18T10:00 2026-03-18T13:00"


def test_a_body_without_words_stays_as_it_is() -> None:
    query = trends(since="2026-03-01", until=1793491200, whole_periods=False)
    assert absolute(query, NOW) == (query, None, None)


def test_the_same_query_for_as_long_as_its_hour_or_day_lasts() -> None:
    later = NOW.replace(hour=23, minute=59)
    assert found(trends(last="30d")) == found(trends(last="30d"), later)
    assert found(trends(last="30d")) != found(trends(last="30d"), later + timedelta(minutes=1))


def test_the_rules_of_a_cohort_have_words_too() -> None:
    cohort = Cohort(all_of=[Cohort(did="a", last="7d"), Cohort(none_of=Cohort(any_of=[Cohort(did="b", this="day")]))])
    made = absolute_cohort(cohort, NOW)
    assert made.all_of is not None
    rule = made.all_of[1].none_of
    assert rule is not None
    assert rule.any_of is not None
    assert (made.all_of[0].since, made.all_of[0].last) == ("2026-03-11T00:00:00+00:00", None)
    assert rule.any_of[0].since == "2026-03-18T00:00:00+00:00"


@pytest.mark.parametrize(
    ("said", "code", "field"),
    [
        ({"last": "7d", "this": "day"}, ErrorCode.INVALID_FIELD, "this"),
        ({"last": "7d", "since": 1}, ErrorCode.INVALID_FIELD, "last"),
        ({"last": "7"}, ErrorCode.INVALID_FIELD, "last"),
        ({"last": "0d"}, ErrorCode.INVALID_FIELD, "last"),
        ({"last": "1m"}, ErrorCode.INVALID_FIELD, "last"),
        ({"last": "٧d"}, ErrorCode.INVALID_FIELD, "last"),
        ({"last": "7d\n"}, ErrorCode.INVALID_FIELD, "last"),
        ({"since": 1, "compare": "previous"}, ErrorCode.MISSING_FIELD, "until"),
        ({"until": 1, "whole_periods": True}, ErrorCode.MISSING_FIELD, "since"),
        ({"last": "7d", "timezone": "Berlin"}, ErrorCode.INVALID_TIMEZONE, "timezone"),
        ({"this": "day", "whole_periods": True}, ErrorCode.INVALID_WINDOW, "whole_periods"),
        ({"since": "1970-01-01", "until": 1, "compare": "previous"}, ErrorCode.INVALID_WINDOW, "compare"),
    ],
)
def test_words_that_make_no_window(said: dict[str, Any], code: ErrorCode, field: str) -> None:
    with pytest.raises(ApiError) as caught:
        absolute(trends(**said), NOW)
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize("last", ["9999d", "9999w", "9999mo", "9999h"])
def test_far_back(last: str) -> None:
    since, until = found(trends(last=last, compare="previous" if last == "9999h" else None))
    assert datetime(1970, 1, 1, tzinfo=UTC) <= since < until
