"""A round of deletions in a project of its own, and what must be left of it: the oracle of deletions.

Of each person: a device and an anonymous id that are merged into the user a moment before some users are deleted. An event
is known by its key; `left` says which must be there at the end, and with which content.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from services.runtime.clickhouse import ClickHouse
from services.runtime.keys import Scope, create_key, new_key
from tests.fault.processes import Service, until
from tests.fault.scene import Scene

PEOPLE = 24
DONE_WITHIN_S = 300.0
STORED_WITHIN_S = 180.0
_BASE = "/v1/analytics"
_WINDOW = datetime(2024, 5, 1, tzinfo=UTC)
_EVERYTHING = {"since": "2024-01-01", "until": "2100-01-01"}


@dataclass
class Round:
    """`left`: by key, the content that must be stored; `gone`: ids that nothing may be left of."""

    scene: Scene
    project: str
    key: str
    left: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def fill(self) -> None:
        """Everybody's events, also in the window that will be deleted; and who is who, at last."""
        events = [
            self._event(f"{kind}-{n}", f"{kind}-{n} {i}")
            for n in range(PEOPLE)
            for kind in ("user", "anon", "device", "late")
            for i in range(3)
        ]
        events += [self._in_window(n) for n in range(PEOPLE)]
        await self._accepted("/batch", {"events": events})
        await asyncio.gather(*[self._merge(f"anon-{n}", f"user-{n}") for n in range(PEOPLE)])
        await asyncio.gather(
            *[
                self._accepted("/identify", {"distinct_id": f"device-{n}", "user_id": f"user-{n}"})
                for n in range(PEOPLE)
            ]
        )

    async def delete(self) -> list[str]:
        """Every other person, and the window. The deletions' ids."""
        people = list(range(0, PEOPLE, 2))
        for n in people:
            self._is_gone(f"user-{n}", f"anon-{n}", f"device-{n}")
        for n in range(PEOPLE):
            self.left.pop(f"window {n}", None)
        bodies: list[dict[str, Any]] = [{"distinct_id": f"user-{n}"} for n in people]
        bodies.append({"since": _WINDOW.isoformat(), "until": (_WINDOW + timedelta(days=1)).isoformat()})
        asked = [
            self._accepted("/privacy/delete", {**body, "idempotency_key": f"{i}"}, [self.scene.stack.query])
            for i, body in enumerate(bodies)
        ]
        return [answer["deletion_id"] for answer in await asyncio.gather(*asked)]

    async def merge_afterwards(self) -> None:
        """Others are joined: with somebody who stays, and with ids that are no more. Both stay."""
        await asyncio.gather(*[self._merge(f"late-{n}", f"user-{n}") for n in range(PEOPLE)])

    async def wait_done(self, deletion_ids: list[str]) -> None:
        for deletion_id in deletion_ids:

            async def is_done(deletion_id: str = deletion_id) -> bool:
                url = f"{self.scene.stack.query.url}{_BASE}/privacy/delete/{deletion_id}"
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with self.scene.stack.http.get(url, headers=self._headers) as answer:
                        return answer.status == 200 and (await answer.json())["state"] == "done"
                return False

            try:
                await until(is_done, f"the deletion {deletion_id} is done", DONE_WITHIN_S)
            except TimeoutError as error:
                raise TimeoutError(f"{error}; {await self._what_it_waits_for(deletion_id)}") from error

    async def _what_it_waits_for(self, deletion_id: str) -> str:
        stack = self.scene.stack
        rows = await stack.sql(
            f"SELECT * FROM headrace.deletions WHERE deletion_id = '{deletion_id}' FORMAT JSONEachRow"
        )
        mutations = await stack.sql(
            "SELECT table, parts_to_do, latest_fail_reason FROM system.mutations WHERE NOT is_done FORMAT JSONEachRow"
        )
        return f"rows {rows.decode()}, mutations {mutations.decode()}, not committed {await stack.uncommitted()}"

    async def fill_again(self) -> None:
        """The keys of the window are free."""
        window = [self._changed(event) for key, event in self.sent.items() if key.startswith("window")]
        await self._accepted("/batch", {"events": window})
        for event in window:
            self.left[event["idempotency_key"]] = "again"
        with suppress(TimeoutError):
            await until(self._is_all_there, "the window is filled", STORED_WITHIN_S)

    async def send_again(self) -> None:
        """The keys of deleted people are taken."""
        again = [event for event in self.sent.values() if event["distinct_id"] in self.gone]
        await self._accepted("/batch", {"events": [self._changed(event) for event in again]})

    async def compare(self) -> None:
        """Waits until as much is there as must be; then all is looked at, in answers and in the table."""
        with suppress(TimeoutError):
            await until(self._is_all_there, "all that must be left", STORED_WITHIN_S)
        await asyncio.sleep(2.0)
        shown: list[tuple[str, str, str]] = []

        async def is_shown() -> bool:
            with suppress(aiohttp.ClientError, TimeoutError):
                shown[:] = await self._shown()
            return bool(shown)

        await until(is_shown, "an answer with events", STORED_WITHIN_S)
        found = {key: content for key, content, _ in shown}
        undeleted = sorted({key for key, _, distinct_id in shown if distinct_id in self.gone})
        lost = sorted(self.left.keys() - found.keys())
        wrong = sorted(key for key in self.left.keys() & found.keys() if found[key] != self.left[key])
        check = self.scene.check
        check(not undeleted, f"undeleted {len(undeleted)}: {undeleted[:3]}")
        check(not lost, f"wrongly deleted or lost {len(lost)}: {lost[:3]}")
        check(not wrong, f"content of before the deletion {len(wrong)}: {wrong[:3]}")
        check(len(shown) == len(found), f"doubled {len(shown) - len(found)}")
        names = ",".join(f"'{one}'" for one in sorted(self.gone))
        rows = await self.scene.stack.sql(
            f"SELECT count() FROM headrace.events WHERE project_id = '{self.project}' AND distinct_id IN ({names})"
        )
        check(int(rows) == 0, f"{int(rows)} rows of deleted people are stored")
        await self._compare_people()

    async def _compare_people(self) -> None:
        for n in range(1, PEOPLE, 2):
            url = f"{self.scene.stack.query.url}{_BASE}/persons/user-{n}"
            async with self.scene.stack.http.get(url, headers=self._headers) as answer:
                ids = sorted((await answer.json()).get("distinct_ids", []))
            wanted = [f"anon-{n}", f"device-{n}", f"late-{n}", f"user-{n}"]
            self.scene.check(ids == wanted, f"user-{n} has the ids {ids}")

    async def _is_all_there(self) -> bool:
        with suppress(aiohttp.ClientError, TimeoutError):
            return {(key, content) for key, content, _ in await self._shown()} >= set(self.left.items())
        return False

    async def _shown(self) -> list[tuple[str, str, str]]:
        """(key, content, id) of every event that a query shows."""
        url = f"{self.scene.stack.query.url}{_BASE}/query/events"
        async with self.scene.stack.http.post(
            url, json=_EVERYTHING, headers=self._headers, raise_for_status=True
        ) as answer:
            events = (await answer.json())["events"]
        return [(e["idempotency_key"], e["properties"]["content"], e["distinct_id"]) for e in events]

    def _event(self, distinct_id: str, key: str) -> dict[str, Any]:
        event = {
            "event": "e",
            "distinct_id": distinct_id,
            "idempotency_key": key,
            "properties": {"content": "first"},
        }
        self.sent[key] = event
        self.left[key] = "first"
        return event

    def _in_window(self, n: int) -> dict[str, Any]:
        event = self._event(f"late-{n}", f"window {n}")
        event["timestamp"] = (_WINDOW + timedelta(minutes=n)).isoformat()
        return event

    def _changed(self, event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "properties": {"content": "again"}}

    def _is_gone(self, *ids: str) -> None:
        self.gone.update(ids)
        for key, event in self.sent.items():
            if event["distinct_id"] in ids:
                self.left.pop(key, None)

    async def _merge(self, old_id: str, new_id: str) -> None:
        await self._accepted("/alias", {"old_id": old_id, "new_id": new_id})

    @property
    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    async def _accepted(self, path: str, body: object, services: list[Service] | None = None) -> Any:
        """The answer, after as many tries as it takes."""
        give_up_at = time.monotonic() + DONE_WITHIN_S
        last = ""
        while time.monotonic() < give_up_at:
            service = self.scene.rng.choice(services or self.scene.stack.edges)
            try:
                timeout = aiohttp.ClientTimeout(total=12)
                async with self.scene.stack.http.post(
                    f"{service.url}{_BASE}{path}", json=body, headers=self._headers, timeout=timeout
                ) as answer:
                    if answer.status == 200:
                        return await answer.json()
                    last = f"{answer.status}: {(await answer.text())[:200]}"
                    if answer.status not in (429, 503):
                        break
            except (aiohttp.ClientError, TimeoutError) as error:
                last = repr(error)
            await asyncio.sleep(0.3)
        raise TimeoutError(f"{path} was not accepted: {last}")


async def begin_round(scene: Scene) -> Round:
    """In a new project."""
    project, key = f"deleting-{scene.rng.getrandbits(48):x}", new_key()
    store = await ClickHouse.connect(scene.stack.admin_settings())
    try:
        await create_key(store, key, project, {Scope.INGEST, Scope.QUERY})
    finally:
        await store.close()
    return Round(scene, project, key)
