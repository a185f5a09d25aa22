"""Pages in a real browser: Chromium where one is installed, at HEADRACE_TEST_CHROMIUM or on the PATH.

A test opens a page, looks at it, and then asks what the browser complained of and which hosts it called.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Page, Request, sync_playwright

PROGRAM = "HEADRACE_TEST_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_TIMEOUT_MS = 30_000


@cache
def chromium() -> str | None:
    """The path of the program; None where there is none."""
    return os.environ.get(PROGRAM) or next(filter(None, map(shutil.which, _NAMES)), None)


class Visit:
    """A browser's window with what happened in it. `problems`: errors on the console, exceptions, failed loads."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        page.set_default_timeout(_TIMEOUT_MS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("request", self._request)
        page.on("requestfailed", self._failed)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _failed(self, request: Request) -> None:
        # A page that is left gives up what it was loading.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"not loaded: {request.url} {request.failure}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(urlsplit(request.url).netloc)


Opener = Callable[..., Visit]


@contextmanager
def windows(base_url: str) -> Iterator[Opener]:
    """Opens windows of one browser, each with a profile of its own and the options of Playwright's `new_page`; addresses
    are relative to `base_url`. Only where `chromium()` is not None."""
    with sync_playwright() as playwright:
        # Root may not use Chromium's sandbox; the pages are our own.
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])

        def opened(width: int = 1280, height: int = 900, **options: Any) -> Visit:
            return Visit(browser.new_page(base_url=base_url, viewport={"width": width, "height": height}, **options))

        try:
            yield opened
        finally:
            browser.close()


@contextmanager
def window(base_url: str, width: int = 1280, height: int = 900) -> Iterator[Visit]:
    """One window."""
    with windows(base_url) as opened:
        yield opened(width, height)
