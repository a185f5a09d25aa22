"""Asks the query service all the time, as a user would, and remembers every event that an answer had twice."""

import asyncio
import random
import time
from typing import Any

import aiohttp

from services.query.sql.events import EVENTS_ONCE
from tests.fault.stack import Stack

_TIMEOUT = aiohttp.ClientTimeout(total=30)
_PATH = "/v1/analytics/query/events"
_MAX_PAGES = 40


class Watch:
    """`doubled`: event ids that were in one answer twice, by any reader. `answers`: how many answers were looked at."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self._stack = stack
        self._random = random.Random(seed)
        self._began_at = time.time() - 60
        self.doubled: set[str] = set()
        self.answers = 0
        self.refused = 0
        self.unexpected: list[str] = []

    async def run(self) -> None:
        """Looks at the last seconds, at a random second of the past, and at the whole table, in turn; for ever."""
        while True:
            began_at, now = time.monotonic(), time.time()
            since = self._random.uniform(self._began_at, now)
            await self.walk(now - 3, now + 1)
            await self.walk(since, since + 1)
            await self.count()
            # No more than a sixth of the time: what is stored grows, and it is the pipeline that is to be loaded.
            await asyncio.sleep(max(0.3, 5 * (time.monotonic() - began_at)))

    async def walk(self, since: float, until: float) -> int:
        """All pages of a window; how many events it has. Gives up where the query service does not answer."""
        query: dict[str, Any] = {"since": since, "until": until, "limit": 1000}
        seen: set[str] = set()
        for _ in range(_MAX_PAGES):
            page = await self._ask(query)
            if page is None:
                break
            for event in page["events"]:
                if event["event_id"] in seen:
                    self.doubled.add(event["event_id"])
                seen.add(event["event_id"])
            self.answers += 1
            if "next_cursor" not in page:
                break
            query["cursor"] = page["next_cursor"]
        return len(seen)

    async def count(self) -> None:
        """The whole table at once, with the query service's own way to keep repeats out."""
        try:
            text = await self._stack.sql(
                f"SELECT event_id FROM {EVENTS_ONCE} WHERE project_id = '{self._stack.project}' "
                "GROUP BY event_id HAVING count() > 1 LIMIT 20"
            )
        except (aiohttp.ClientError, TimeoutError):
            return
        self.doubled.update(text.decode().split())
        self.answers += 1

    async def _ask(self, query: dict[str, Any]) -> dict[str, Any] | None:
        try:
            async with self._stack.http.post(
                self._stack.query.url + _PATH,
                json=query,
                headers={"authorization": f"Bearer {self._stack.key}"},
                timeout=_TIMEOUT,
            ) as answer:
                if answer.status == 200:
                    page: dict[str, Any] = await answer.json()
                    return page
                self.refused += 1
                if answer.status not in (401, 429, 503):  # 401: restarted, and the keys are not read yet
                    self.unexpected.append(f"{answer.status}: {(await answer.text())[:300]}")
        except (aiohttp.ClientError, TimeoutError):
            self.refused += 1
        return None
