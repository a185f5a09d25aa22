"""since, until and timezone as clients write them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.timestamps import microseconds
from services.query.request.time_window import EARLIEST_US, LATEST_US, parse_time_window, parse_zone
from services.runtime.clock import utc_time


@pytest.mark.parametrize(
    ("since", "zone", "expected"),
    [
        ("2024-03-01", None, "2024-03-01T00:00:00Z"),
        ("2024-03-01T12:30:00.000001Z", None, "2024-03-01T12:30:00.000001Z"),
        ("2024-03-01T12:30:00.1234567+05:30", None, "2024-03-01T07:00:00.123456Z"),
        ("2024-03-01 12:30", None, "2024-03-01T12:30:00Z"),
        ("20240301", None, "2024-03-01T00:00:00Z"),
        (" 2024-03-01 ", None, "2024-03-01T00:00:00Z"),
        ("2024-03-01t00:00:00z", None, "2024-03-01T00:00:00Z"),
        ("2024-W09-5", None, "2024-03-01T00:00:00Z"),
        ("2024-03-01", "Asia/Tokyo", "2024-02-29T15:00:00Z"),
        ("2024-03-01T00:00:00Z", "Asia/Tokyo", "2024-03-01T00:00:00Z"),
        ("2024-03-31T02:30:00", "Europe/Berlin", "2024-03-31T01:30:00Z"),  # was jumped over
        ("2024-10-27T02:30:00", "Europe/Berlin", "2024-10-27T00:30:00Z"),  # the first of two
        (1709251200, None, "2024-03-01T00:00:00Z"),
        (1709251200000, None, "2024-03-01T00:00:00Z"),
        (1709251200.5, None, "2024-03-01T00:00:00.5Z"),
        (1709251200000.25, None, "2024-03-01T00:00:00.00025Z"),
        (99_999_999_999.0, None, None),  # seconds: cut to the last moment there is
        (0, None, "1970-01-01T00:00:00Z"),
    ],
)
def test_forms_of_a_time(since: Any, zone: str | None, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ApiError) as caught:
            parse_time_window(since, "9999-12-31", zone)
        assert caught.value.code is ErrorCode.INVALID_WINDOW
    else:
        window = parse_time_window(since, "2030-01-01", zone)
        assert utc_time(window.since_us) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("0001-01-01", "9999-12-31"),
        ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59"),
        (-1e308, 1e308),
        (-(10**400), 10**400),
        ("1969-12-31T23:59:59", "2149-01-01T00:00:01"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Adak"])
def test_wider_than_the_store_is_cut(since: Any, until: Any, zone: str) -> None:
    window = parse_time_window(since, until, zone)
    half_a_day_us = 14 * 3_600_000_000
    assert EARLIEST_US <= window.since_us <= half_a_day_us
    assert LATEST_US - half_a_day_us <= window.until_us <= LATEST_US


@pytest.mark.parametrize(
    ("since", "until", "code", "field"),
    [
        ("yesterday", "2024-01-01", ErrorCode.INVALID_TIMESTAMP, "since"),
        ("2024-01-01", "", ErrorCode.INVALID_TIMESTAMP, "until"),
        ("2024-13-01", "2024-01-01", ErrorCode.INVALID_TIMESTAMP, "since"),
        ("2024-01-01T25:00", "2024-01-01", ErrorCode.INVALID_TIMESTAMP, "since"),
        ("2024-01-01\0", "2024-01-02", ErrorCode.INVALID_TIMESTAMP, "since"),
        ("2024-01-01\00010:00", "2024-01-02", ErrorCode.INVALID_TIMESTAMP, "since"),
        ("2024-01-01x10:00", "2024-01-02", ErrorCode.INVALID_TIMESTAMP, "since"),
        ("٢٠٢٤-01-01", "2024-01-02", ErrorCode.INVALID_TIMESTAMP, "since"),
        ("...", "...", ErrorCode.INVALID_TIMESTAMP, "since"),
        ("1709251200", "2024-01-02", ErrorCode.INVALID_TIMESTAMP, "since"),
        ("2024-01-01", "2024-01-01", ErrorCode.INVALID_WINDOW, "until"),
        ("2024-01-02", "2024-01-01", ErrorCode.INVALID_WINDOW, "until"),
        ("0001-01-01", "1969-01-01", ErrorCode.INVALID_WINDOW, "since"),
        ("2200-01-01", "9999-12-31", ErrorCode.INVALID_WINDOW, "since"),
    ],
)
def test_no_time_or_no_window(since: str, until: str, code: ErrorCode, field: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_time_window(since, until, None)
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize(
    "name", ["localtime", "", "Mars/Phobos", "../../etc/passwd", "/etc/passwd", "America", "utc\0", "Z" * 64]
)
def test_no_zone(name: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_zone(name)
    assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_TIMEZONE, "timezone")


def test_microseconds_there_and_back() -> None:
    time = datetime(2024, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)
    assert utc_time(microseconds(time)) == time
