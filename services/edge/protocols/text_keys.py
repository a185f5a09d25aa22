"""Keys for messages of SDKs that give them none, and send a request that got no answer again word for word."""

import re
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import Any

from xxhash import xxh3_128_hexdigest

from services.contract.api.errors import ApiError
from services.contract.placeholders import is_placeholder_key
from services.edge.protocols.messages import FAULTS, Messages, Payload

# A fraction of a second, or milliseconds that are no whole second. Go leaves zeros at the end out: `.25`. A whole second
# with zeros behind it is one that an app has rounded, and several events may have it.
_EXACT_TIME = re.compile(rb'\.[0-9]*[1-9]|^"?[0-9]{10}(?!000"?$)[0-9]{3}"?$')


def is_exact(time: bytes) -> bool:
    """Whether a time as sent tells one event from the next."""
    return _EXACT_TIME.search(time) is not None


def is_id(text: str | None) -> bool:
    """Whether an id as sent tells one event from the next: `null` of broken clients does not."""
    return bool(text) and not is_placeholder_key(text or "")


class TextKeys:
    """Of one request. `is_unique`: whether no other request can have this message, by its id or its exact time."""

    def __init__(self, messages: Messages[Any], is_unique: Callable[[Any], bool]) -> None:
        self._messages = messages
        self._is_unique = is_unique
        self._texts: Counter[str] = Counter()

    def key_of(self, payload: Payload, time: bytes) -> str | None:
        """The message's text, where its time is exact. Equal texts of one request are several events. Else its place in
        the request, where another message makes that one unique."""
        if not is_exact(time):
            return self._request and f"place:{self._request}:{payload.index}"
        digest = xxh3_128_hexdigest(payload.text)
        before = self._texts[digest]
        self._texts[digest] += 1
        return f"text:{digest}:{before}" if before else f"text:{digest}"

    @cached_property
    def _request(self) -> str | None:
        items = self._messages.items
        if not any(not isinstance(one, ApiError) and self._tells(one) for one in items):
            return None
        return xxh3_128_hexdigest(b"\n".join(self._messages.payload(index).text for index in range(len(items))))

    def _tells(self, message: Any) -> bool:
        try:
            return self._is_unique(message)
        except FAULTS:
            return False  # its fault costs that message alone, when it is looked at
