"""The SDKs that producers run, unmodified, through the whole pipeline, with failures in between: what they were told to
send is stored once each, on the right person, at the right time.

Compared is what queries answer with what the app said, never the SDK's own word.
"""

import os
import shlex
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tests.pipeline.test_behaviour import unique
from tests.support.pipeline import Pipeline, eventually
from tests.support.sdks.running import Driver
from tests.support.sdks.unreliable import FAULTS, unreliable

PROPERTIES = {"n": 2, "price": 19.99, "text": 'über 😀 \\ "', "nested": {"a": [1, {"b": None}]}, "none": None}
# What SDKs add to an app's own properties.
_ADDED = {"token", "time", "distinct_id", "mp_lib", "mp_processing_time_ms"}

SEGMENT = ["segment_python", "rudder_python", "segment_node", "rudder_node"]
AMPLITUDE = ["amplitude_python", "amplitude_node"]
POSTHOG = ["posthog_python", "posthog_python_v1", "posthog_node"]


@pytest.fixture(scope="module")
def ingest_key(pipeline: Pipeline) -> str:
    """A key as a producer gets it. Keys in bodies and addresses must have the scope `ingest` alone."""
    settings = dict(line.split("=", 1) for line in shlex.split((pipeline.data_dir / "env").read_text()))
    command = [sys.executable, "-m", "services.cli", "keys", "create", "--project", "development", "--scope", "ingest"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=True)  # noqa: S603
    return next(word for word in done.stdout.split() if word.startswith("hr_"))


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

    def messages(self, *, alias: bool = True, page: bool = True, null: bool = True) -> list[dict[str, Any]]:
        tagged = {"tag": self.tag}
        properties = {name: value for name, value in PROPERTIES.items() if null or value is not None}
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
        (e["event"], e["distinct_id"], _own(e["properties"]), datetime.fromisoformat(e["timestamp"])) for e in events
    )


def _own(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name[:1] != "$" and name not in _ADDED}


def person(pipeline: Pipeline, distinct_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = pipeline.client.get(f"/persons/{distinct_id}").json()
    return answer


def play(
    pipeline: Pipeline, key: str, names: list[str], faults: tuple[Any, ...] = FAULTS, **parts: bool
) -> dict[str, Story]:
    """All SDKs at once, each behind a proxy of its own; returns when all have sent what they were told."""
    drivers = [driver for driver in map(Driver, names) if driver.is_here]
    assert drivers
    stories = {driver.name: Story(driver.name) for driver in drivers}
    with ExitStack() as stack:
        running = []
        for driver in drivers:
            host, proxy = stack.enter_context(unreliable(pipeline.base_url, faults))
            running.append((driver, driver.begin(host, key, stories[driver.name].messages(**parts)), proxy))
        for driver, process, proxy in running:
            said = driver.finish(process)
            assert set(proxy.statuses) <= {200}, f"{driver.name} was refused: {proxy.statuses}, and said {said[-2000:]}"
            assert set(faults) <= set(proxy.seen), f"{driver.name} met {proxy.seen} alone"
    return stories


def check_people(pipeline: Pipeline, story: Story, driver: str) -> None:
    ada, bob = person(pipeline, story.ada), person(pipeline, story.bob)
    assert set(ada["distinct_ids"]) >= {story.ada, story.device}, driver
    assert bob["distinct_ids"] == [story.bob], driver
    assert {name: ada["traits"].get(name) for name in ("plan", "age")} == {"plan": "pro", "age": 36}, driver
    assert bob["traits"].get("plan") == "free", driver


def check_events(pipeline: Pipeline, story: Story, driver: str, **parts: bool) -> None:
    wanted = story.events(story.messages(**parts))
    found = eventually(partial(stored, pipeline, story.tag), lambda events: len(events) >= len(wanted))
    assert found == wanted, driver


def test_segment_style_sdks(pipeline: Pipeline, ingest_key: str) -> None:
    for driver, story in play(pipeline, ingest_key, SEGMENT).items():
        check_events(pipeline, story, driver)
        check_people(pipeline, story, driver)
        ada = person(pipeline, story.ada)
        assert set(ada["distinct_ids"]) == {story.ada, story.device, story.old}, driver
        assert ada["groups"] == {"group": story.group}, driver


def test_posthog(pipeline: Pipeline, ingest_key: str) -> None:
    """No 429 among the faults: Headrace never answers one here, because the browser's SDK loses what gets one."""
    faults = tuple(fault for fault in FAULTS if fault != 429)
    for driver, story in play(pipeline, ingest_key, POSTHOG, faults, page=False).items():
        check_events(pipeline, story, driver, page=False)
        check_people(pipeline, story, driver)
        assert set(person(pipeline, story.ada)["distinct_ids"]) == {story.ada, story.device, story.old}, driver


def test_amplitude(pipeline: Pipeline, ingest_key: str) -> None:
    """It has no aliases and no pages, and drops what is null. Its SDKs for Python and Node throw away what was on a
    connection that is cut, and after a 429 the one for Node rests for half a minute: too long for a test."""
    parts = {"page": False, "alias": False, "null": False}
    for driver, story in play(pipeline, ingest_key, AMPLITUDE, (500, 503), **parts).items():
        check_events(pipeline, story, driver, **parts)
        check_people(pipeline, story, driver)
        assert set(person(pipeline, story.ada)["distinct_ids"]) == {story.ada, story.device}, driver


@pytest.mark.parametrize(
    ("name", "faults"),
    [("mixpanel_python", FAULTS), ("mixpanel_node", ())],
    ids=["python", "node"],
)
def test_mixpanel(pipeline: Pipeline, ingest_key: str, name: str, faults: tuple[Any, ...]) -> None:
    """npm's SDK sends nothing again: what fails is the app's to send. So nothing fails here."""
    for driver, story in play(pipeline, ingest_key, [name], faults, page=False).items():
        check_events(pipeline, story, driver, page=False)
        check_people(pipeline, story, driver)
        assert set(person(pipeline, story.ada)["distinct_ids"]) == {story.ada, story.device, story.old}, driver
