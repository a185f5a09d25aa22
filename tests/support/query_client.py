"""The query service in this process, asked as over HTTP, by tests that are plain functions."""

import asyncio
import itertools
import json
from collections.abc import Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self, TypeVar

import httpx
from starlette.applications import Starlette

from services.contract.api.endpoints import BASE_PATH
from services.contract.tables import API_KEYS
from services.query.app import create_app
from services.runtime.keys import hash_of
from services.runtime.settings import ClickHouseSettings, QuerySettings
from services.schema.roles import Role
from tests.fakes.deletion_log import WorkersAtTheEnd
from tests.support.engine import as_role, insert_lines

T = TypeVar("T")
# Enough for all examples of a property, and for the search for the smallest one when it fails.
_EXAMPLES = 3000


class QueryClient:
    """Sends requests to the service; `projects` gives projects that have a key, each once."""

    def __init__(
        self, app: Starlette, runner: asyncio.Runner, keys: list[tuple[str, str]], event_log: WorkersAtTheEnd
    ) -> None:
        self._runner = runner
        self.event_log = event_log
        self.app = app
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://query"
        )
        self.projects = iter(keys)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def send(self, method: str, path: str, key: str | None = None, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        return self.run(self.http.request(method, path, headers=headers, **options))

    def post(self, path: str, key: str, body: Any) -> httpx.Response:
        return self.send("POST", BASE_PATH + path, key, json=body)

    def ask(self, path: str, key: str, body: Any) -> Any:
        """The answer of a request that must succeed."""
        response = self.post(path, key, body)
        assert response.status_code == 200, response.text
        return response.json()

    async def until_ready(self, within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            while (await self.http.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 (nobody tells us)
                await asyncio.sleep(0.01)

    @classmethod
    def for_examples(cls, settings: ClickHouseSettings) -> AbstractContextManager[Self]:
        """With a project for each example. Their keys are read once: read every two seconds, they cost more than queries."""
        return cls.started(settings, projects=_EXAMPLES, keys_refresh_s=60)

    @classmethod
    @contextmanager
    def started(
        cls, settings: ClickHouseSettings, projects: int = 1000, wait: bool = True, **options: Any
    ) -> Iterator[Self]:
        keys = list(itertools.islice(project_keys(), projects))
        insert_keys(settings, [(project, key, ["query"]) for project, key in keys])
        usual = {"query_deletions_pause_s": 0, "query_promote_up_to": 0}
        given = {**as_role(settings, Role.QUERY).model_dump(), **usual, **options}
        event_log = WorkersAtTheEnd(as_role(settings, Role.WORKER))
        app = create_app(QuerySettings(**given), event_log=event_log)
        with asyncio.Runner() as runner:
            lifespan = app.router.lifespan_context(app)
            runner.run(lifespan.__aenter__())
            client = cls(app, runner, keys, event_log)
            try:
                if wait:
                    client.run(client.until_ready())
                yield client
            finally:
                runner.run(client.http.aclose())
                runner.run(lifespan.__aexit__(None, None, None))


def project_keys() -> Iterator[tuple[str, str]]:
    return ((f"project_{i}", f"hr_key_{i}") for i in itertools.count())


def insert_keys(settings: ClickHouseSettings, keys: list[tuple[str, str, list[str]]]) -> None:
    """(project, key, scopes) each."""
    rows = [
        {"key_hash": hash_of(key), "project_id": project, "scopes": scopes, "created_at": 0, "version": 1}
        for project, key, scopes in keys
    ]
    insert_lines(settings, API_KEYS, "\n".join(json.dumps(row) for row in rows).encode())
