"""`python -m tests.bench.query.dashboard`: a dashboard of eight queries on the history of `make bench-query`.

Asked of the query service, then opened in the console by Chromium: first after a start, so that no result is kept, then
again with nothing changed.
"""

import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

from services.contract.api.endpoints import BASE_PATH
from services.devstack.child_process import ChildProcess, free_port
from services.schema.roles import Role
from tests.bench.query.data import MERGED, Data, open_data
from tests.bench.query.history import FUNNEL, PROJECT, PROMOTED, SINCE, UNTIL, History
from tests.support.browser import chromium
from tests.support.query_client import insert_keys

_KEY = f"hr_{secrets.token_hex(24)}"
_WINDOW = {"since": SINCE.isoformat(), "until": UNTIL.isoformat()}
_VIEWS = {"type": "trends", "series": [{"event": "page_viewed"}], "interval": "day"}
_QUERIES: list[dict[str, Any]] = [
    {"title": "Views", **_VIEWS},
    {"title": "Views by country", **_VIEWS, "breakdown": "country"},
    {"title": "Views by plan", **_VIEWS, "breakdown": PROMOTED},
    {"title": "People", "type": "trends", "series": [{"event": "app_opened", "measure": "people"}], "interval": "week"},
    {
        "title": "Funnel",
        "type": "funnel",
        "steps": [{"event": name} for name in FUNNEL],
        "conversion_window_seconds": 604_800,
    },
    {
        "title": "Retention",
        "type": "retention",
        "born_event": "app_opened",
        "return_event": "page_viewed",
        "interval": "week",
    },
    {"title": "Paths", "type": "path", "start_event": "app_opened", "max_depth": 3},
    {"title": "Opened", "type": "trends", "series": [{"event": "app_opened"}], "interval": "day"},
]
_TURNS, _AGAIN = 3, 3
# The catalog is built in the background after a start; a dashboard is not to wait for it.
_SETTLE_S = 10.0


class Services:
    """Query service and console, whose API is the query service alone."""

    def __init__(self, data: Data, folder: Path) -> None:
        query, console = free_port(), free_port()
        self.api = f"http://127.0.0.1:{query}{BASE_PATH}"
        self.pages = f"http://127.0.0.1:{console}/console"
        settings = data.settings(MERGED)
        self.query = _service(
            "query",
            folder,
            query,
            HEADRACE_QUERY_PORT=str(query),
            HEADRACE_CLICKHOUSE_URL=settings.clickhouse_url,
            HEADRACE_CLICKHOUSE_DATABASE=MERGED,
            HEADRACE_CLICKHOUSE_USER=settings.clickhouse_user,
            HEADRACE_CLICKHOUSE_PASSWORD=settings.clickhouse_password,
        )
        self.console = _service(
            "console",
            folder,
            console,
            HEADRACE_CONSOLE_PORT=str(console),
            HEADRACE_CONSOLE_API_URL=self.api.removesuffix(BASE_PATH),
            HEADRACE_CONSOLE_SECRET=secrets.token_hex(32),
            HEADRACE_CONSOLE_COOKIE_SECURE="false",
        )

    def start(self) -> None:
        """The query service from its start: nothing is kept."""
        self.query[0].stop()
        for process, port in (self.query, self.console):
            process.start()
            process.wait_until(lambda port=port: _is_live(port), 60)  # type: ignore[misc]
        time.sleep(_SETTLE_S)

    def stop(self) -> None:
        self.console[0].stop()
        self.query[0].stop()


def _service(name: str, folder: Path, port: int, **env: str) -> tuple[ChildProcess, int]:
    command = [sys.executable, "-m", "services.cli", name]
    return ChildProcess(name, command, log=folder / f"{name}.log", env=env), port


def _is_live(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
    except httpx.HTTPError:
        return False


def _timed(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _of_api(services: Services, dashboard: str) -> dict[str, list[float]]:
    with httpx.Client(timeout=120, headers={"authorization": f"Bearer {_KEY}"}) as http:

        def run() -> None:
            answer = http.post(f"{services.api}/dashboard/run/{dashboard}", json={}).json()
            wrong = [one for one in answer["answers"] if "error" in one]
            if wrong:
                raise RuntimeError(f"queries of the dashboard failed: {wrong}")

        cold, again = [], []
        for _ in range(_TURNS):
            services.start()
            cold.append(_timed(run))
            again += [_timed(run) for _ in range(_AGAIN)]
        catalog = [
            _timed(lambda: http.post(f"{services.api}/query/catalog", json={}).raise_for_status()) for _ in range(7)
        ]
    return {"API: run, nothing kept": cold, "API: run again, unchanged": again, "API: catalog": catalog}


def _of_console(services: Services, dashboard: str) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {}
    with _page(services) as page:
        for _ in range(_TURNS):
            services.start()
            for name in ("nothing kept", *["unchanged"] * _AGAIN):
                began = time.perf_counter()
                page.goto(f"{services.pages}/dashboards/{dashboard}", wait_until="commit")
                page.locator(".chart svg").first.wait_for()
                took.setdefault(f"console: first picture, {name}", []).append(time.perf_counter() - began)
                page.locator(".tiles:not(:has(.spinner))").wait_for()
                took.setdefault(f"console: all tiles, {name}", []).append(time.perf_counter() - began)
    return took


@contextmanager
def _page(services: Services) -> Iterator[Page]:
    program = chromium()
    if program is None:
        raise typer.BadParameter("Chromium is needed: install it, or leave the console out by --without-console")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{services.pages}/sign-in#key={_KEY}")
        page.wait_for_url(lambda address: "sign-in" not in address)
        yield page
        browser.close()


def main(
    events: Annotated[int, typer.Option(help="Events of the history.")] = 10_000_000,
    data: Annotated[Path, typer.Option(help="Kept between runs.")] = Path(".data/bench-query"),
    without_console: Annotated[bool, typer.Option("--without-console", help="Ask the API alone.")] = False,
) -> None:
    """Run a dashboard of eight queries, with nothing kept and again with nothing changed."""
    console = Console(width=100)
    directory = data / f"{events}"
    with open_data(directory, History(events, 1), console.print) as there:
        insert_keys(there.settings(MERGED, Role.ADMIN), [(PROJECT, _KEY, ["query"])])
        services = Services(there, directory)
        try:
            services.start()
            body = {"name": "Eight", "queries": [{**query, **_WINDOW} for query in _QUERIES]}
            made = httpx.post(
                f"{services.api}/dashboard/create", json=body, headers={"authorization": f"Bearer {_KEY}"}
            )
            dashboard = made.raise_for_status().json()["dashboard_id"]
            took = _of_api(services, dashboard)
            if not without_console:
                took |= _of_console(services, dashboard)
        finally:
            services.stop()
    table = Table("what", "median, s", "least", "most", title=f"{events:,} events")
    for name, seconds in took.items():
        table.add_row(name, *(f"{of(seconds):.2f}" for of in (statistics.median, min, max)))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
