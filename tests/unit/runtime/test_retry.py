"""Trying again says each reason once."""

import structlog

from services.runtime.logs import get_logger
from services.runtime.retry import retry_until_done


async def test_each_new_reason_is_said_once() -> None:
    reasons = ["away", "away", "topics are missing", "topics are missing"]

    async def attempt() -> int:
        if reasons:
            raise OSError(reasons.pop(0))
        return 7

    with structlog.testing.capture_logs() as lines:
        assert await retry_until_done(attempt, (OSError,), 0, get_logger(__name__), "not_done") == 7
    assert [line["reason"] for line in lines] == ["away", "topics are missing"]
