"""Bodies of requests, made beforehand: a request costs its producer a copy and fresh keys."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.contract.api.endpoints import BASE_PATH
from tests.bench.events import BODIES, TEMPLATE_KEY, make_event
from tests.load.keys import KEY_CHARS, keys
from tests.load.plan import BATCHES, KINDS, SDKS, SINGLES, SIZES

_TEMPLATES = {BATCHES: 60, SINGLES: 500, SDKS: 30}

Event = dict[str, Any]


class Template:
    """A body of so many events, and the places of its keys' characters."""

    def __init__(self, path: str, events: int, body: bytes) -> None:
        self.path = path
        self.events = events
        self._body = np.frombuffer(body, np.uint8).copy()
        self._places = _places(body, events)

    def filled(self, first: int, run: int) -> bytes:
        """The body with the keys of the numbers from `first` on."""
        self._body[self._places] = np.frombuffer(keys(first, self.events, run), np.uint8)
        return self._body.tobytes()


class Bodies:
    """Templates of each kind. `renew` makes one of them again, with events of now."""

    def __init__(self, key: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.key = key
        self._turn = 0
        self._templates = {kind: [self._make(kind) for _ in range(_TEMPLATES[kind])] for kind in KINDS}

    def any(self, kind: str) -> Template:
        return self.random.choice(self._templates[kind])

    def renew(self) -> None:
        kind = KINDS[self._turn % len(KINDS)]
        templates = self._templates[kind]
        templates[self._turn // len(KINDS) % len(templates)] = self._make(kind)
        self._turn += 1

    def _make(self, kind: str) -> Template:
        now = datetime.now(UTC)
        events = [make_event(self.random, now) for _ in range(self.random.randint(*SIZES[kind]))]
        return _MAKERS[kind](events, self)


def _batch(events: Sequence[Event], bodies: Bodies) -> Template:
    return Template(f"{BASE_PATH}/batch", len(events), BODIES["plain"](events))


def _single(events: Sequence[Event], bodies: Bodies) -> Template:
    return Template(f"{BASE_PATH}/track", 1, msgspec.json.encode(events[0]))


def _sdk(events: Sequence[Event], bodies: Bodies) -> Template:
    """Segment's SDKs and PostHog's, as often."""
    if bodies.random.random() < 0.5:
        return Template("/v1/batch", len(events), BODIES["segment"](events))
    return Template("/batch", len(events), _posthog_body(events, bodies.key))


_MAKERS: dict[str, Callable[[Sequence[Event], Bodies], Template]] = {BATCHES: _batch, SINGLES: _single, SDKS: _sdk}


def _posthog_body(events: Sequence[Event], key: str) -> bytes:
    """As the SDKs for servers send them."""
    batch = [
        {
            "event": event["event"],
            "distinct_id": event["distinct_id"],
            "uuid": event["idempotency_key"],
            "timestamp": event["timestamp"],
            "properties": {**event["properties"], "$lib": "posthog-python", "$lib_version": "7.91.1"},
        }
        for event in events
    ]
    return msgspec.json.encode({"api_key": key, "historical_migration": False, "batch": batch})


def _places(body: bytes, events: int) -> NDArray[np.int32]:
    key, starts = TEMPLATE_KEY.encode(), []
    at = body.find(key)
    while at >= 0:
        starts.append(at)
        at = body.find(key, at + KEY_CHARS)
    if len(starts) != events:
        raise ValueError(f"{len(starts)} keys in a body of {events} events")
    return np.array([range(start, start + KEY_CHARS) for start in starts], np.int32).ravel()
