"""The token bucket: what a project may send, and when it may send again."""

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.edge.http.rate_limit import RateLimit


def refused_for_s(limit: RateLimit, events: int, now_s: float, project_id: str = "shop") -> int:
    with pytest.raises(ApiError) as refused:
        limit.take(project_id, events, now_s)
    assert refused.value.code is ErrorCode.RATE_LIMITED
    assert refused.value.retry_after_s is not None
    return refused.value.retry_after_s


def test_zero_is_no_limit() -> None:
    limit = RateLimit(0)
    for _ in range(100):
        limit.take("shop", 10**9, 0.0)


@pytest.mark.parametrize(("events_s", "capacity"), [(1, 1000), (500, 1000), (5000, 10_000)])
def test_a_bucket_holds_two_seconds_and_one_batch_at_least(events_s: int, capacity: int) -> None:
    limit = RateLimit(events_s)
    limit.take("shop", capacity, 0.0)
    refused_for_s(limit, 1, 0.0)


def test_it_fills_with_time_and_never_above_its_capacity() -> None:
    limit = RateLimit(1000)
    limit.take("shop", 2000, 0.0)
    limit.take("shop", 500, 0.5)
    refused_for_s(limit, 1, 0.5)
    limit.take("shop", 2000, 1000.0)
    refused_for_s(limit, 1, 1000.0)


@pytest.mark.parametrize(("events", "seconds"), [(1, 1), (100, 1), (101, 2), (1000, 10)])
def test_it_says_when_so_many_events_go_through(events: int, seconds: int) -> None:
    limit = RateLimit(100)
    limit.take("shop", 1000, 0.0)
    assert refused_for_s(limit, events, 0.0) == seconds
    limit.take("shop", events, 0.0 + seconds)


def test_a_refusal_takes_nothing() -> None:
    limit = RateLimit(100)
    limit.take("shop", 900, 0.0)
    for _ in range(5):
        assert refused_for_s(limit, 1000, 0.0) == 9
    limit.take("shop", 100, 0.0)


def test_projects_do_not_share_a_bucket() -> None:
    limit = RateLimit(100)
    limit.take("shop", 1000, 0.0)
    limit.take("blog", 1000, 0.0)
    refused_for_s(limit, 1, 0.0, "blog")


def test_an_empty_batch_always_goes_through() -> None:
    limit = RateLimit(100)
    limit.take("shop", 1000, 0.0)
    limit.take("shop", 0, 0.0)


def test_requests_count_whatever_becomes_of_them() -> None:
    limit = RateLimit(0, requests_s=10)
    for _ in range(20):
        limit.take_request("shop", 0.0)
    with pytest.raises(ApiError, match="10 requests/s") as refused:
        limit.take_request("shop", 0.0)
    assert refused.value.retry_after_s == 1
    limit.take_request("blog", 0.0)
    limit.take_request("shop", 0.1)


def test_bytes_that_came_are_paid_for_before_the_next_request() -> None:
    limit = RateLimit(0, bytes_s=1024 * 1024)
    limit.take_request("shop", 0.0)
    limit.charge_bytes("shop", 12 * 1024 * 1024, 0.0)
    with pytest.raises(ApiError, match="bytes/s") as refused:
        limit.take_request("shop", 0.0)
    assert refused.value.retry_after_s == 2
    limit.take_request("shop", 2.0)
    limit.take_request("blog", 0.0)


def test_a_body_of_the_largest_size_fits_into_any_limit_of_bytes() -> None:
    limit = RateLimit(0, bytes_s=1)
    limit.charge_bytes("shop", 10 * 1024 * 1024, 0.0)
    limit.take_request("shop", 0.0)


def test_a_batch_beyond_the_bucket_is_taken_and_the_rest_is_owed() -> None:
    """SDKs may send more at once than a native batch holds: refused, it would be refused for ever."""
    limit = RateLimit(100)
    limit.take_many("shop", 2500, now_s=0.0)
    with pytest.raises(ApiError) as refused:
        limit.take_many("shop", 1, now_s=1.0)
    assert refused.value.retry_after_s == 15  # 1500 owed, 100 earned, 100 a second
    limit.take_many("shop", 1, now_s=16.0)
    limit.take_many("blog", 1000, now_s=1.0)
