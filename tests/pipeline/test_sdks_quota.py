"""SDKs whose project has used up its quota of the day: none of them loses an event, and none sends again and again."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.contract.api.sdk import FAMILIES
from tests.pipeline.test_behaviour import unique
from tests.pipeline.test_sdks import SDKS, Story, own_properties
from tests.support.pipeline import Pipeline, eventually
from tests.support.sdks.running import Driver, missing_because
from tests.support.sdks.unreliable import unreliable

OF_FAMILIES: dict[str, list[str]] = {
    "segment": ["segment_python", "segment_node", "rudder_python", "rudder_node"],
    "posthog": ["posthog_python", "posthog_node"],
    "amplitude": ["amplitude_python", "amplitude_node"],
    "mixpanel": ["mixpanel_python", "mixpanel_node"],
}
# PostHog's asks for feature flags, others send what they measure of themselves.
_REQUESTS_BESIDE = 2
EVENT = {"event": "native", "distinct_id": "native"}


def test_each_family_has_its_sdks_here() -> None:
    assert set(OF_FAMILIES) == set(FAMILIES)


class Project:
    """One of its own, whose quota the operator sets as the guide says."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.name = unique("quota")
        settings = dict(line.split("=", 1) for line in shlex.split((pipeline.data_dir / "env").read_text()))
        self._environment = {**os.environ, **settings}
        self.ingest_key, query_key = self._key("ingest"), self._key("query")
        address = f"{pipeline.base_url}/v1/analytics"
        self._native = httpx.Client(base_url=address, headers={"authorization": f"Bearer {self.ingest_key}"})
        self._reader = httpx.Client(base_url=address, headers={"authorization": f"Bearer {query_key}"}, timeout=60)

    def close(self) -> None:
        self._native.close()
        self._reader.close()

    def run(self, *words: str) -> str:
        command = [sys.executable, "-m", "services.cli", *words]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True).stdout  # noqa: S603

    def _key(self, scope: str) -> str:
        said = self.run("keys", "create", "--project", self.name, "--scope", scope)
        return next(word for word in said.split() if word.startswith("hr_"))

    def set_quota(self, events_day: str) -> None:
        self.run("projects", "set", self.name, "--events-day", events_day)

    def send(self) -> int:
        return self._native.post("/track", json=EVENT).status_code

    def stored(self, tag: str) -> list[tuple[Any, ...]]:
        window = {"since": "2020-01-01", "until": "2100-01-01", "filter": {"tag": tag}}
        answer = self._reader.post("/query/events", json=window)
        answer.raise_for_status()
        return sorted(
            (e["event"], e["distinct_id"], own_properties(e["properties"]), datetime.fromisoformat(e["timestamp"]))
            for e in answer.json()["events"]
        )

    def letters(self) -> str:
        return self.run("dead-letters", "list", "--project", self.name, "--code", "quota_exceeded", "--json")

    def plan_of(self, distinct_id: str) -> str | None:
        answer = self._reader.get(f"/persons/{distinct_id}")
        plan: str | None = answer.json()["traits"].get("plan") if answer.status_code == 200 else None
        return plan


@pytest.fixture(scope="module")
def drivers() -> list[Driver]:
    return [driver for names in OF_FAMILIES.values() for driver in map(Driver, names) if driver.is_here]


Stories = dict[str, Story]


def run_all(pipeline: Pipeline, project: Project, drivers: list[Driver]) -> tuple[Stories, dict[str, int]]:
    """What each was told, and how many requests each has made of it: all at once, each to its own end."""
    told = {driver.name: Story(driver.name) for driver in drivers}
    with ExitStack() as stack:
        running = []
        for driver in drivers:
            host, proxy = stack.enter_context(unreliable(pipeline.base_url, ()))
            running.append((driver, driver.begin(host, project.ingest_key, said(driver.name, told)), proxy))
        for driver, process, proxy in running:
            output = driver.finish(process)
            print(f"{driver.name}, {len(proxy.seen)} requests: {output[-2000:]}")
            assert set(proxy.statuses) == {200}, f"{driver.name} was refused: {proxy.statuses}"
        return told, {driver.name: len(proxy.seen) for driver, _, proxy in running}


def said(name: str, told: Stories) -> list[dict[str, Any]]:
    return told[name].messages(**SDKS[name][1])


def wanted(name: str, told: Stories) -> list[tuple[Any, ...]]:
    return told[name].events(said(name, told))


@pytest.fixture(scope="module")
def project(pipeline: Pipeline) -> Iterator[Project]:
    """Native calls get 429: so does whoever else asks the edge."""
    project = Project(pipeline)
    assert project.send() == 200
    project.set_quota("1")
    eventually(project.send, lambda status: status == 429)
    yield project
    project.close()


@pytest.fixture(scope="module")
def told_and_requests(
    pipeline: Pipeline, project: Project, drivers: list[Driver], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Stories, Stories, dict[str, int]]:
    """Told while the quota is used up, told with room again; and the number of requests while it was used up."""
    refused, requests = run_all(pipeline, project, drivers)
    for name, story in refused.items():
        assert project.stored(story.tag) == [], f"{name} got past the quota"
    project.set_quota("none")
    eventually(project.send, lambda status: status == 200)
    after, _ = run_all(pipeline, project, drivers)
    letters: Path = tmp_path_factory.mktemp("letters") / "letters.jsonl"
    letters.write_text(project.letters())
    for _ in range(2):  # put back twice, each is stored once
        project.run("dead-letters", "replay", str(letters))
    return refused, after, requests


def require(name: str, told: Stories) -> None:
    if name not in told:
        pytest.skip(f"not run: {missing_because()}")


each_sdk = pytest.mark.parametrize("name", [name for names in OF_FAMILIES.values() for name in names])
Told = tuple[Stories, Stories, dict[str, int]]


@each_sdk
def test_nothing_is_lost_while_the_quota_is_used_up(project: Project, told_and_requests: Told, name: str) -> None:
    refused, _, _ = told_and_requests
    require(name, refused)
    expected = wanted(name, refused)
    assert eventually(partial(project.stored, refused[name].tag), lambda found: len(found) >= len(expected)) == expected


@each_sdk
def test_what_is_sent_with_room_again_is_stored(project: Project, told_and_requests: Told, name: str) -> None:
    _, after, _ = told_and_requests
    require(name, after)
    expected = wanted(name, after)
    assert eventually(partial(project.stored, after[name].tag), lambda found: len(found) >= len(expected)) == expected


@each_sdk
def test_none_sends_again_and_again(told_and_requests: Told, name: str) -> None:
    refused, _, requests = told_and_requests
    require(name, refused)
    assert requests[name] <= len(said(name, refused)) + _REQUESTS_BESIDE


@each_sdk
def test_what_is_said_of_people_counts_at_once(project: Project, told_and_requests: Told, name: str) -> None:
    """No quota holds it: its order matters."""
    refused, _, _ = told_and_requests
    require(name, refused)
    assert eventually(partial(project.plan_of, refused[name].ada), lambda plan: plan is not None) == "pro"
