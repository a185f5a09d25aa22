"""Events as a shop's site sends them, about 300 bytes each, and the HTTP requests that carry them.

Every request has fresh idempotency keys, as real ones do: 128 random bits in hexadecimal, written into a prepared
body. So keys compress as badly as in production, and preparing a request costs the load generator next to nothing.
"""

import gzip
import itertools
import os
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec
import numpy as np

KEY_CHARS = 32
_EVENTS = ("page_viewed", "product_viewed", "search_performed", "cart_updated", "checkout_started", "order_completed")
_WEIGHTS = (50, 25, 12, 8, 3, 2)
_PLATFORMS = ("web", "ios", "android")
_CHANNELS = ("direct", "organic", "paid_search", "email", "referral")
_PEOPLE = 200_000
TEMPLATE_KEY = "k" * KEY_CHARS


def make_event(rng: random.Random, now: datetime) -> dict[str, Any]:
    """One event of the last hour, with `TEMPLATE_KEY` in place of its idempotency key."""
    product = rng.randrange(20_000)
    return {
        "event": rng.choices(_EVENTS, _WEIGHTS)[0],
        "distinct_id": f"user_{rng.randrange(_PEOPLE)}",
        "timestamp": (now - timedelta(milliseconds=rng.randrange(3_600_000)))
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "idempotency_key": TEMPLATE_KEY,
        "properties": {
            "session_id": f"{rng.getrandbits(64):016x}",
            "platform": rng.choice(_PLATFORMS),
            "channel": rng.choice(_CHANNELS),
            "path": f"/products/{product}",
            "price": round(rng.random() * 200, 2),
            "quantity": rng.randrange(1, 5),
        },
    }


# What Segment's browser and mobile SDKs say of where an event happened: some 900 bytes.
_CONTEXT = {
    "app": {"name": "shop", "version": "1.2.3", "build": "545"},
    "campaign": {"name": "summer", "source": "newsletter", "medium": "email", "term": "shoes", "content": "link"},
    "device": {"id": "B5372DB0-C21E-11E4-8DFC", "manufacturer": "Apple", "model": "iPhone7,2", "type": "ios"},
    "ip": "8.8.8.8",
    "library": {"name": "analytics.js", "version": "npm:next-1.84.0"},
    "locale": "en-US",
    "network": {"bluetooth": False, "carrier": "T-Mobile US", "cellular": True, "wifi": False},
    "os": {"name": "iPhone OS", "version": "8.1.3"},
    "page": {
        "path": "/academy/",
        "referrer": "https://shop.example/docs",
        "search": "",
        "title": "Analytics Academy",
        "url": "https://shop.example/academy/",
    },
    "screen": {"density": 2, "height": 568, "width": 320},
    "timezone": "Europe/Amsterdam",
    "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 9_1 like Mac OS X) AppleWebKit/601.1.46 (KHTML, like Gecko)",
}


def segment_body(events: Sequence[dict[str, Any]]) -> bytes:
    """The events as Segment's SDKs send them, with some 1 KB of context each."""
    batch = [
        {
            "type": "track",
            "event": event["event"],
            "userId": event["distinct_id"],
            "anonymousId": _ANONYMOUS,
            "messageId": event["idempotency_key"],
            "timestamp": event["timestamp"],
            "properties": event["properties"],
            "context": _CONTEXT,
            "integrations": {},
        }
        for event in events
    ]
    return msgspec.json.encode({"batch": batch, "sentAt": datetime.now(UTC).isoformat()})


def context_body(events: Sequence[dict[str, Any]]) -> bytes:
    """What `segment_body` becomes, as a native batch of as many bytes."""
    batch = []
    for event in events:
        properties = {**event["properties"], "$anonymous_id": _ANONYMOUS, "$context": _CONTEXT}
        batch.append({**event, "properties": properties})
    missing = len(segment_body(events)) - len(batch_body(batch))
    for event in batch:
        event["properties"]["padding"] = "x" * max(0, missing // len(batch) - len(',"padding":""'))
    return batch_body(batch)


_ANONYMOUS = "f8b5a0de-3c5e-4c53-9f1c-5b3a9b0e4a11"


def batch_body(events: Sequence[dict[str, Any]]) -> bytes:
    return msgspec.json.encode({"events": events})


BODIES = {"plain": batch_body, "context": context_body, "segment": segment_body}


def fresh_keys(count: int) -> bytes:
    """So many keys, one after the other."""
    return os.urandom(count * KEY_CHARS // 2).hex().encode()


class RequestSource(Protocol):
    """Whole HTTP/1.1 requests, each with `events` events under keys of its own."""

    events: int

    def next(self) -> bytes: ...


class BatchRequests:
    """Requests of many events: a few prepared bodies in turn, with fresh keys each time."""

    def __init__(self, head: str, events: int, templates: int, seed: int = 1, body: str = "plain") -> None:
        self.events = events
        rng, now = random.Random(seed), datetime.now(UTC)
        make = BODIES[body]
        self._templates: Iterator[tuple[Any, Any]] = itertools.cycle(
            [_template(head, make([make_event(rng, now) for _ in range(events)])) for _ in range(templates)]
        )

    def next(self) -> bytes:
        request, at = next(self._templates)
        request[at] = np.frombuffer(fresh_keys(self.events), np.uint8)
        answer: bytes = request.tobytes()
        return answer


class PackedRequests:
    """Compressed requests, prepared in full; when all were sent, they start again."""

    def __init__(self, head: str, events: int, count: int) -> None:
        self.events = events
        plain = BatchRequests("", events, min(count, 32))
        bodies = [gzip.compress(plain.next().partition(b"\r\n\r\n")[2], 6) for _ in range(count)]
        self._requests = itertools.cycle([_head(f"{head}content-encoding: gzip\r\n", len(b)) + b for b in bodies])

    def next(self) -> bytes:
        return next(self._requests)


class SingleRequests:
    """One event a request, as `POST /track` takes it."""

    events = 1

    def __init__(self, head: str, templates: int = 1000) -> None:
        rng, now = random.Random(2), datetime.now(UTC)
        parts = []
        for _ in range(templates):
            body = msgspec.json.encode(make_event(rng, now))
            before, _, after = (_head(head, len(body)) + body).partition(TEMPLATE_KEY.encode())
            parts.append((before, after))
        self._parts = itertools.cycle(parts)
        self._keys: Iterator[bytes] = iter(())

    def next(self) -> bytes:
        key = next(self._keys, None)
        if key is None:
            keys = fresh_keys(1000)
            self._keys = iter([keys[i : i + KEY_CHARS] for i in range(0, len(keys), KEY_CHARS)])
            key = next(self._keys)
        before, after = next(self._parts)
        return before + key + after


def _head(head: str, length: int) -> bytes:
    return f"{head}content-length: {length}\r\n\r\n".encode()


def request_head(path: str, key: str) -> str:
    """The head of a request up to its content-length."""
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    )


def _template(head: str, body: bytes) -> tuple[Any, Any]:
    """The request as an array of bytes, and the places of its keys' characters."""
    request = np.frombuffer(_head(head, len(body)) + body, np.uint8).copy()
    text, key = request.tobytes(), TEMPLATE_KEY.encode()
    starts = []
    at = text.find(key)
    while at >= 0:
        starts.append(at)
        at = text.find(key, at + KEY_CHARS)
    places = (np.array(starts, np.int32)[:, None] + np.arange(KEY_CHARS, dtype=np.int32)).ravel()
    return request, places
