"""What becomes of a failure of the consumer group: it is tried again, or ends the worker.

A worker that ends reads all its ids when it is back. So it ends only where trying again cannot help: rights, settings, and
what goes on for long.

aiokafka puts a failure that it does not know aside, and takes part in the group no more until somebody asks for it.
`getmany` asks; Faust calls what lies below that, and never does. The worker would stand still, with partitions that others
have been given.
"""

import asyncio
import time
from typing import Any

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidCommitOffsetSizeError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaError,
    OffsetMetadataTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedVersionError,
)

from services.runtime.logs import get_logger

log = get_logger(__name__)
# Somebody has to change something.
_LASTING = (
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidCommitOffsetSizeError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    OffsetMetadataTooLargeError,
    UnsupportedVersionError,
)
RETRY_S = 1.0
# What failed again and again for so long ends the worker ...
_GIVE_UP_S = 60.0
# ... and after so long without a failure the next one is the first again.
_CALM_S = 30.0


def can_pass(error: BaseException) -> bool:
    """Whether a failure of Kafka's may be over when it is tried again."""
    return isinstance(error, KafkaError | OSError) and not isinstance(error, _LASTING)


class Coordination:
    """Stands in for what aiokafka does with a failure of its membership."""

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator
        self._first_s = self._last_s = float("-inf")
        coordinator._push_error_to_user = self.failed

    async def failed(self, error: BaseException) -> None:
        """Join again in a moment. Raises the failure where that cannot help: the coordination then ends with it, and the
        worker with the coordination."""
        if not can_pass(error) or self._goes_on():
            raise error
        log.warning("membership_failed", reason=repr(error))
        await asyncio.wait([self._coordinator._closing], timeout=RETRY_S)
        # A heartbeat that has ended begins with the next membership only.
        self._coordinator.request_rejoin()

    def _goes_on(self) -> bool:
        now = time.monotonic()
        if now - self._last_s > _CALM_S:
            self._first_s = now
        self._last_s = now
        return now - self._first_s > _GIVE_UP_S
