"""Producers and readers, by Locust, in a process of their own: `python -m tests.load.users PLAN.json FOLDER`.

A request is sent, to one edge after the other, until it gets a 2xx; that alone counts as accepted. FOLDER has afterwards
what was sent (plan.py). Needs requirements/load.txt.
"""

import sys
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any

import gevent
import msgspec
from geventhttpclient import HTTPClient
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from services.contract.api.endpoints import BASE_PATH
from tests.load.bodies import Template
from tests.load.drive import Drive
from tests.load.keys import KEY_CHARS, keys
from tests.load.plan import BATCHES, SDKS, SINGLES, Asked, Gone, Plan
from tests.load.queries import KINDS, query, saved_queries

_STARTS_IN_S = 4.0
_RENEW_EVERY_S = 2.0
_TELL_EVERY_S = 1.0
_AGAIN_S = 0.25
_GIVE_UP_S = 120.0
_TIMEOUT_S = 20.0
# Answers of a service that cannot take it now; 0 is none at all.
_LATER = (0, 429, 502, 503, 504)
_PEOPLE = 200_000


class _User(User):  # type: ignore[misc]
    """Waits for its due time, whatever became of the request before.

    It asks with the client that is below Locust's own, which keeps figures of each request that nobody needs here.
    """

    abstract = True
    drive: Drive

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._clients: dict[str, HTTPClient] = {}

    def wait_time(self) -> float:
        return 0.0

    def wait_until(self, due: float | None) -> None:
        if due is None:
            raise StopUser
        gevent.sleep(max(0.0, due - time.monotonic()))

    def ask(self, service: str, path: str, body: Any, key: str, name: str) -> tuple[int, bytes]:
        """Status and body of the answer to one try; status 0 where there is none."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        try:
            answer = self._client(service).request("POST", path, body=data, headers=headers)
            status, text = int(answer.status_code), bytes(answer.read())
        except (OSError, HTTPException, gevent.Timeout) as error:
            self._clients.pop(service).close()
            status, text = 0, repr(error).encode()
        if status != 200:
            self.drive.refuse(status, f"{name}: {text.decode(errors='replace')}", status in _LATER)
        return status, text

    def until_taken(self, services: list[str], path: str, body: Any, key: str, name: str) -> tuple[bytes | None, int]:
        """The body of the answer with 200, or None when it was given up; and the number of tries."""
        at, ends_at, tries = self.drive.random.randrange(len(services)), time.monotonic() + _GIVE_UP_S, 0
        while time.monotonic() < ends_at:
            status, text = self.ask(services[(at + tries) % len(services)], path, body, key, name)
            tries += 1
            if status == 200:
                return text, tries
            if status not in _LATER:
                break
            gevent.sleep(_AGAIN_S)
        return None, tries

    def _client(self, service: str) -> HTTPClient:
        client = self._clients.get(service)
        if client is None:
            client = HTTPClient.from_url(
                service, concurrency=1, connection_timeout=_TIMEOUT_S, network_timeout=_TIMEOUT_S
            )
            self._clients[service] = client
        return client


class _Producer(_User):
    abstract = True
    kind: str

    @task  # type: ignore[untyped-decorator]
    def send(self) -> None:
        given = self.drive.next(self.kind)
        if given is None:
            raise StopUser
        template, first, due = given
        self.wait_until(due)
        body = template.filled(first, self.drive.plan.run)
        answer, tries = self._send(template, body)
        self.drive.record(self.kind, template, first, due, tries, answer is not None)
        if answer is not None and self.drive.random.random() < self.drive.plan.repeats:
            self._send(template, body)
            self.drive.repeats += template.events

    def _send(self, template: Template, body: bytes) -> tuple[bytes | None, int]:
        plan = self.drive.plan
        return self.until_taken(plan.edges, template.path, body, plan.key, self.kind)


class BatchProducer(_Producer):
    kind = BATCHES
    fixed_count = 12


class SingleProducer(_Producer):
    kind = SINGLES
    fixed_count = 64


class SdkProducer(_Producer):
    kind = SDKS
    fixed_count = 6


class _Asking(_User):
    abstract = True

    def timed(self, kind: str, path: str, body: Any) -> None:
        plan, at = self.drive.plan, time.monotonic()
        service = plan.queries[len(self.drive.asked) % len(plan.queries)]
        status, _ = self.ask(service, f"{BASE_PATH}{path}", body, plan.query_key, kind)
        self.drive.asked.append(Asked(kind, at, time.monotonic() - at, status))


class Reader(_Asking):
    """Queries of all kinds in turn."""

    fixed_count = 4
    turn = 0

    @task  # type: ignore[untyped-decorator]
    def read(self) -> None:
        self.wait_until(self.drive.calls["queries"].take(1))
        kind = KINDS[Reader.turn % len(KINDS)]
        Reader.turn += 1
        self.timed(kind, f"/query/{kind}", query(kind))


class DashboardReader(_Asking):
    """Somebody has a dashboard open, which runs again and again."""

    fixed_count = 1
    dashboard = ""

    @task  # type: ignore[untyped-decorator]
    def read(self) -> None:
        self.wait_until(self.drive.calls["dashboards"].take(1))
        if not self.dashboard:
            plan, body = self.drive.plan, {"name": "load", "queries": saved_queries()}
            answer, _ = self.until_taken(
                plan.queries, f"{BASE_PATH}/dashboard/create", body, plan.query_key, "dashboard"
            )
            self.dashboard = msgspec.json.decode(answer)["dashboard_id"] if answer else ""
        self.timed("dashboard", f"/dashboard/run/{self.dashboard}", {})


class Joiner(_User):
    """Merges and links: a device and a user become one person."""

    fixed_count = 2

    @task  # type: ignore[untyped-decorator]
    def join(self) -> None:
        self.wait_until(self.drive.calls["identities"].take(1))
        drive = self.drive
        user, device = f"user_{drive.random.randrange(_PEOPLE)}", f"device_{drive.identities}"
        path, body = ("alias", {"old_id": device, "new_id": user})
        if drive.identities % 2:
            path, body = ("identify", {"distinct_id": device, "user_id": user})
        drive.identities += 1
        self.until_taken(drive.plan.edges, f"{BASE_PATH}/{path}", body, drive.plan.key, path)


class Leaver(_User):
    """Somebody comes, leaves events, and is deleted."""

    fixed_count = 2
    events = 5

    @task  # type: ignore[untyped-decorator]
    def leave(self) -> None:
        self.wait_until(self.drive.calls["deletions"].take(1))
        drive, plan = self.drive, self.drive.plan
        first = drive.numbers.take(self.events)
        person = f"leaver_{first}"
        events = [
            {"event": "left", "distinct_id": person, "idempotency_key": key}
            for key in _keys(first, self.events, plan.run)
        ]
        taken, _ = self.until_taken(plan.edges, f"{BASE_PATH}/batch", {"events": events}, plan.key, "leaver")
        if taken is None:
            return
        body = {"distinct_id": person}
        answer, _ = self.until_taken(plan.queries, f"{BASE_PATH}/privacy/delete", body, plan.query_key, "delete")
        if answer is not None:
            drive.gone.append(Gone(person, msgspec.json.decode(answer)["deletion_id"], (first, first + self.events)))


def _keys(first: int, count: int, run: int) -> list[str]:
    text = keys(first, count, run).decode()
    return [text[i : i + KEY_CHARS] for i in range(0, len(text), KEY_CHARS)]


def main(plan_file: Path, folder: Path) -> None:
    plan = msgspec.json.decode(plan_file.read_bytes(), type=Plan)
    drive = Drive(plan, time.monotonic() + _STARTS_IN_S)
    _User.drive = drive
    classes = [BatchProducer, SingleProducer, SdkProducer, Reader]
    classes += [user for user, rate in _further(plan) if rate]
    environment = Environment(user_classes=classes, catch_exceptions=False)
    runner = environment.create_local_runner()
    users = sum(user.fixed_count for user in classes)
    runner.start(users, spawn_rate=users)
    gevent.spawn(_renew, drive)
    gevent.spawn(_tell, drive)
    gevent.sleep(_STARTS_IN_S)
    while runner.user_count:
        gevent.sleep(0.2)
    runner.quit()
    drive.write(folder)


def _further(plan: Plan) -> list[tuple[type[_User], float]]:
    return [(DashboardReader, plan.dashboards_s), (Joiner, plan.identities_s), (Leaver, plan.deletions_s)]


def _renew(drive: Drive) -> None:
    """Bodies have times of now, and a long run must not end with those of its begin."""
    while True:
        gevent.sleep(_RENEW_EVERY_S)
        drive.bodies.renew()


def _tell(drive: Drive) -> None:
    """To standard output, once a second: the moment, and how many events were accepted up to it."""
    while True:
        print(f"{time.monotonic():.3f} {drive.accepted}", flush=True)
        gevent.sleep(_TELL_EVERY_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
