"""Keys for messages of SDKs that give them none, and send a request that got no answer again word for word."""

import re
from collections import Counter

from xxhash import xxh3_128_hexdigest

# Milliseconds or finer.
_EXACT_TIME = re.compile(rb"\.[0-9]{3}")


class TextKeys:
    """Of one request."""

    def __init__(self) -> None:
        self._texts: Counter[str] = Counter()

    def key_of(self, text: bytes, timestamp: bytes) -> str | None:
        """The message's text, where its time is exact enough to tell one event from the next. Equal texts of one request
        are several events."""
        if not _EXACT_TIME.search(timestamp):
            return None
        digest = xxh3_128_hexdigest(text)
        before = self._texts[digest]
        self._texts[digest] += 1
        return f"text:{digest}:{before}" if before else f"text:{digest}"
