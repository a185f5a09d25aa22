"""The SDKs that producers run, unmodified, through the whole pipeline, with failures in between: what they were told to
send is stored once each, on the right person, at the right time.

Compared is what queries answer with what the app said, never the SDK's own word.
"""

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psutil
import pytest

from tests.pipeline.test_behaviour import unique
from tests.support.pipeline import Pipeline, eventually
from tests.support.sdks.running import Driver
from tests.support.sdks.unreliable import CUT_AFTER, FAULTS, unreliable

PROPERTIES = {"n": 2, "price": 19.99, "text": 'über 😀 \\ "', "nested": {"a": [1, {"b": None}]}, "none": None}
# What SDKs add to an app's own properties.
_ADDED = {"token", "time", "distinct_id", "mp_lib", "mp_processing_time_ms"}

# What each SDK is told, but for what it cannot say; and which faults it meets. Not met is what it loses by itself:
# Amplitude's throw away what was on a connection that is cut, and but for Go's rest half a minute after a 429; npm's of
# Mixpanel sends nothing again; a 429 is never answered to PostHog. Segment's and RudderStack's for Java rest up to half a
# minute after each fault.
_NO_429 = tuple(fault for fault in FAULTS if fault != 429)
_NO_PAGE = {"page": False}
_AMPLITUDE = {"page": False, "alias": False, "null": False}
_JAVA = {"null": False, "deep_null": False}
SDKS: dict[str, tuple[tuple[str | int, ...], dict[str, bool]]] = {
    "segment_python": (FAULTS, {}),
    "segment_node": (FAULTS, {}),
    "rudder_python": (FAULTS, {}),
    "rudder_node": (FAULTS, {}),
    "posthog_python": (_NO_429, _NO_PAGE),
    "posthog_python_v1": (_NO_429, _NO_PAGE),
    "posthog_node": (_NO_429, _NO_PAGE),
    "amplitude_python": ((500, 503), _AMPLITUDE),
    "amplitude_node": ((500, 503), _AMPLITUDE),
    "mixpanel_python": (FAULTS, _NO_PAGE),
    "mixpanel_node": ((), _NO_PAGE),
    "segment_java": ((), _JAVA),
    "rudder_java": ((), _JAVA),
    "posthog_java": ((500, CUT_AFTER, 503), {**_JAVA, **_NO_PAGE}),
    "mixpanel_java": (FAULTS, {**_JAVA, **_NO_PAGE}),
    "segment_go": (FAULTS, {}),
    "rudder_go": (FAULTS, {}),
    "posthog_go": (FAULTS, _NO_PAGE),
    "amplitude_go": ((500, 503, 429), {**_AMPLITUDE, "null": True}),
    "mixpanel_go": (FAULTS, _NO_PAGE),
}


class Story:
    """What an app tells its SDK, and what is to be found afterwards. Two people log in on one device."""

    def __init__(self, driver: str) -> None:
        self.tag = unique(driver)
        # No SDK's clock is finer than this.
        self.begin = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
        self.device, self.old, self.ada, self.bob = (f"{self.tag}_{who}" for who in ("device", "old", "ada", "bob"))
        self.group = f"{self.tag}_acme"

    def at(self, second: int) -> datetime:
        return self.begin + timedelta(seconds=second, milliseconds=250)

    def messages(
        self, *, alias: bool = True, page: bool = True, null: bool = True, deep_null: bool = True
    ) -> list[dict[str, Any]]:
        tagged = {"tag": self.tag}
        properties = {name: value for name, value in PROPERTIES.items() if null or value is not None}
        if not deep_null:
            properties["nested"] = {"a": [1, {"b": "c"}]}
        said = [
            {"do": "track", "anonymous": self.device, "event": "seen", "properties": tagged},
            {"do": "identify", "anonymous": self.device, "user": self.ada, "traits": {"plan": "pro", "age": 36}},
            {"do": "track", "user": self.ada, "event": "bought", "properties": {**properties, **tagged}},
            {"do": "group", "user": self.ada, "group": self.group, "traits": {"seats": 4}},
            {"do": "identify", "anonymous": self.device, "user": self.bob, "traits": {"plan": "free"}},
            {"do": "track", "user": self.bob, "event": "seen", "properties": tagged},
        ]
        if page:
            said.append({"do": "page", "user": self.ada, "name": "Home", "properties": {"path": "/", **tagged}})
        if alias:
            said.append({"do": "alias", "old": self.old, "user": self.ada})
            said.append({"do": "track", "user": self.old, "event": "seen", "properties": tagged})
        for second, one in enumerate(said):
            one["at"] = self.at(second).isoformat()
        return said

    def events(self, said: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return sorted(
            (
                one.get("event", one["do"]),
                one.get("user") or one["anonymous"],
                {**one["properties"], **({"name": one["name"]} if "name" in one else {})},
                datetime.fromisoformat(one["at"]),
            )
            for one in said
            if "properties" in one
        )


def stored(pipeline: Pipeline, tag: str) -> list[tuple[Any, ...]]:
    window = {"since": "2020-01-01", "until": "2100-01-01"}
    events = pipeline.walk({**window, "filter": {"tag": tag}})
    return sorted(
        (e["event"], e["distinct_id"], own_properties(e["properties"]), datetime.fromisoformat(e["timestamp"]))
        for e in events
    )


def own_properties(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name[:1] != "$" and name not in _ADDED}


def person(pipeline: Pipeline, distinct_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = pipeline.client.get(f"/persons/{distinct_id}").json()
    return answer


@pytest.fixture(scope="module")
def stories(pipeline: Pipeline, ingest_key: str) -> dict[str, Story]:
    """All SDKs at once, each behind a proxy of its own, until all have sent what they were told."""
    drivers = [driver for driver in map(Driver, SDKS) if driver.is_here]
    told = {driver.name: Story(driver.name) for driver in drivers}
    with ExitStack() as stack:
        running = []
        for driver in drivers:
            faults, parts = SDKS[driver.name]
            host, proxy = stack.enter_context(unreliable(pipeline.base_url, faults))
            running.append((driver, driver.begin(host, ingest_key, told[driver.name].messages(**parts)), proxy))
        for driver, process, proxy in running:
            said = driver.finish(process)
            assert set(proxy.statuses) <= {200}, f"{driver.name} was refused: {proxy.statuses}, and said {said[-2000:]}"
            assert set(SDKS[driver.name][0]) <= set(proxy.seen), f"{driver.name} met {proxy.seen} alone"
    return told


def story_of(driver: str, stories: dict[str, Story]) -> Story:
    if driver not in stories:
        pytest.skip(f"not run: {Driver(driver).missing_because}")
    return stories[driver]


@pytest.mark.parametrize("driver", list(SDKS))
def test_each_message_is_stored_once(pipeline: Pipeline, stories: dict[str, Story], driver: str) -> None:
    story = story_of(driver, stories)
    wanted = story.events(story.messages(**SDKS[driver][1]))
    assert eventually(partial(stored, pipeline, story.tag), lambda events: len(events) >= len(wanted)) == wanted


@pytest.mark.parametrize("driver", list(SDKS))
def test_two_people_of_one_device_stay_two(pipeline: Pipeline, stories: dict[str, Story], driver: str) -> None:
    story, has_alias = story_of(driver, stories), SDKS[driver][1].get("alias", True)
    ada, bob = person(pipeline, story.ada), person(pipeline, story.bob)
    assert set(ada["distinct_ids"]) == {story.ada, story.device, *([story.old] if has_alias else [])}
    assert bob["distinct_ids"] == [story.bob]
    assert {name: ada["traits"].get(name) for name in ("plan", "age")} == {"plan": "pro", "age": 36}
    assert bob["traits"].get("plan") == "free"
    if driver.startswith(("segment", "rudder")):
        assert ada["groups"] == {"group": story.group}


def broker_of(pipeline: Pipeline) -> psutil.Process:
    """The process that listens at the log's address."""
    addresses = json.loads((pipeline.data_dir / "stack.json").read_text())
    port = int(addresses["kafka"].rpartition(":")[2])
    for child in psutil.Process(pipeline.process.pid).children(recursive=True):
        if any(one.status == "LISTEN" and one.laddr.port == port for one in child.net_connections()):
            return child
    pytest.skip("the broker is not ours to stop")


def test_a_log_that_is_away_for_a_while_costs_nothing(pipeline: Pipeline, ingest_key: str) -> None:
    """RudderStack's SDK for Node gives up after three tries within a second."""
    driver, story = Driver("rudder_node"), Story("away")
    if not driver.is_here:
        pytest.skip(f"not run: {driver.missing_because}")
    broker = broker_of(pipeline)
    broker.suspend()
    try:
        process = driver.begin(pipeline.base_url, ingest_key, story.messages())
        time.sleep(10)
        assert process.poll() is None
    finally:
        broker.resume()
    driver.finish(process)
    wanted = story.events(story.messages())
    assert eventually(partial(stored, pipeline, story.tag), lambda events: len(events) >= len(wanted)) == wanted
