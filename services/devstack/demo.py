"""`headrace demo`: the clickstream in through HTTP, and its answers out, in a terminal."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from services.devstack.clickstream import EVENT_COUNT, batches
from services.devstack.development_key import development_key
from services.runtime.environment import read_settings
from services.runtime.operator_errors import OperatorError
from services.runtime.printable import printable
from services.runtime.settings import StackSettings

_WINDOW = {"since": "2024-01-01T00:00:00Z", "until": "2024-07-01T00:00:00Z"}
_READY_TIMEOUT_S = 180
_VISIBLE_TIMEOUT_S = 60

out = Console()


class DemoError(OperatorError):
    """The demonstration cannot go on; the message says why."""


def run() -> int:
    """Start the stack if none answers at the port, send, wait, ask, print. The exit status."""
    settings = read_settings(StackSettings)
    base = f"http://127.0.0.1:{settings.port}"
    try:
        with _stack(base) as was_there, httpx.Client(base_url=f"{base}/v1/analytics", timeout=60) as client:
            client.headers["authorization"] = f"Bearer {development_key(settings)[0]}"
            _send(client)
            _show_retention(client)
            _show_path(client)
            _show_links(base, was_there)
    except (DemoError, httpx.HTTPError) as error:
        out.print(Text(f"demo: {printable(str(error))}", "red"))
        return 1
    return 0


@contextmanager
def _stack(base: str) -> Iterator[bool]:
    """The stack that runs at the port already (True), or one of our own for as long as the demonstration takes."""
    if _is_ready(base):
        out.print(f"using the stack at {base}")
        yield True
        return
    out.print("no stack answers at the port: starting one")
    process = subprocess.Popen([sys.executable, "-m", "services.cli", "dev"], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not _is_ready(base):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError("the stack did not start; see what it printed above and its logs")
            time.sleep(0.1)
        yield False
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _is_ready(base: str) -> bool:
    """The gateway keeps the services' health inside: whether both halves answer, the second one that it wants a key."""
    try:
        edge = httpx.get(f"{base}/openapi.json", timeout=5)
        query = httpx.get(f"{base}/v1/analytics/dashboard/list", timeout=5)
        return (edge.status_code, query.status_code) == (200, 401)
    except httpx.HTTPError:
        return False


def _send(client: httpx.Client) -> None:
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as progress:
        bar = progress.add_task("sending", total=EVENT_COUNT)
        for batch in batches():
            response = client.post("/batch", json={"events": batch})
            if response.status_code != 200 or not response.json()["ok"]:
                raise DemoError(f"the edge answered {response.status_code}: {response.text[:500]}")
            progress.advance(bar, len(batch))
        accepted = time.monotonic() - started
        waiting = progress.add_task("queryable", total=EVENT_COUNT)
        deadline = time.monotonic() + _VISIBLE_TIMEOUT_S
        while (stored := _count(client)) < EVENT_COUNT:
            progress.update(waiting, completed=stored)
            if time.monotonic() > deadline:
                raise DemoError(f"{stored} of {EVENT_COUNT} events could be queried after {_VISIBLE_TIMEOUT_S} s")
            time.sleep(0.2)
        progress.update(waiting, completed=stored)
    total = time.monotonic() - started
    out.print(
        f"{EVENT_COUNT:,} events accepted in {accepted:.2f} s ({EVENT_COUNT / accepted:,.0f} events/s), "
        f"all of them queryable after {total:.2f} s"
    )


def _count(client: httpx.Client) -> int:
    """How many different people-events are there: walked page by page, as a user would."""
    seen, cursor = 0, None
    while True:
        body: dict[str, Any] = dict(_WINDOW)
        if cursor:
            body["cursor"] = cursor
        page = _ask(client, "/query/events", body)
        seen += len(page["events"])
        cursor = page.get("next_cursor")
        if not cursor:
            return seen


def _show_retention(client: httpx.Client) -> None:
    query = {"born_event": "home", "return_event": "purchase", "interval": "week", **_WINDOW}
    answer = _ask(client, "/query/retention", query)
    matrix, weeks = answer["matrix"], min(9, len(answer["matrix"]))
    table = Table(title="Weekly retention: first `home`, then `purchase`")
    for name in ("week of", "people", *[f"+{i}" for i in range(1, weeks)]):
        table.add_column(name, justify="right", no_wrap=True)
    for start, row in zip(answer["periods"], matrix, strict=True):
        if row[0]:
            shares = [f"{count / row[0]:.0%}" if count else "·" for count in row[1:weeks]]
            table.add_row(start[:10], str(row[0]), *shares)
    out.print(table)


def _show_path(client: httpx.Client) -> None:
    query = {"start_event": "product_view", "max_depth": 3, "top": 3, **_WINDOW}
    answer = _ask(client, "/query/path", query)
    tree = Tree(f"[bold]{answer['root']}[/] {answer['count']} people, {answer['drop_off']} left")
    _grow(tree, answer)
    out.print("Paths from `product_view`")
    out.print(tree)


def _show_links(base: str, was_there: bool) -> None:
    """Whole on their lines: to be pressed, or copied."""
    out.print(f"The same in the console{'' if was_there else ', while `make run` runs'}; it asks for the key once:")
    for link in console_links(base):
        out.print(Text(link), soft_wrap=True)


def console_links(base: str) -> list[str]:
    """Retention by week, as above, and a funnel."""
    when = {"range": "custom", **{name: time[:10] for name, time in _WINDOW.items()}, "tz": "UTC"}
    retention = {"born": "home", "back": "purchase", "interval": "week"}
    funnel = {f"s.{i}.event": event for i, event in enumerate(("home", "product_view", "purchase"))}
    pages = {"retention": retention, "funnel": funnel}
    return [f"{base}/console/{page}?{urlencode({**said, **when})}" for page, said in pages.items()]


def _grow(tree: Tree, node: dict[str, Any]) -> None:
    for child in node["children"]:
        left = f", {child['drop_off']} left" if child["drop_off"] else ""
        _grow(tree.add(f"[bold]{child['event']}[/] {child['count']}{left}"), child)
    if node["other"]:
        tree.add(f"[dim]other {node['other']}")


def _ask(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = client.post(path, json=body)
    if response.status_code != 200:
        raise DemoError(f"{path} answered {response.status_code}: {response.text[:500]}")
    answer: dict[str, Any] = response.json()
    return answer
