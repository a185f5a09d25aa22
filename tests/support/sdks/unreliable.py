"""A proxy in front of the edge that fails every second request, each time in another way."""

import http.client
import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Answers of a proxy that nobody reached; and connections that end before the edge has the request, or behind it: then
# the SDK sends a second time what is stored already.
CUT_BEFORE, CUT_AFTER = "cut before", "cut after"
FAULTS: tuple[str | int, ...] = (500, CUT_AFTER, 503, 429, CUT_BEFORE)
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length"}


class Unreliable:
    """`seen` counts requests by what was done to them; `statuses` are what the edge has answered."""

    def __init__(self, upstream: str, faults: Sequence[str | int]) -> None:
        self.seen: list[str | int] = []
        self.statuses: list[int] = []
        self._lock = threading.Lock()
        self._plan = _alternating(faults)
        at = urlsplit(upstream)
        self._upstream = (at.hostname or "", at.port or 80)

    def next(self) -> str | int:
        with self._lock:
            done = next(self._plan)
            self.seen.append(done)
            return done

    def forward(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self._upstream, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            self.statuses.append(answer.status)
            return answer.status, answer.getheaders(), data
        finally:
            connection.close()


def _alternating(faults: Sequence[str | int]) -> Iterator[str | int]:
    for fault in itertools.cycle(faults or ["passed"]):
        yield fault
        yield "passed"


@contextmanager
def unreliable(upstream: str, faults: Sequence[str | int] = FAULTS) -> Iterator[tuple[str, Unreliable]]:
    """Its address, and what it has seen."""
    state = Unreliable(upstream, faults)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self._body()
            done = state.next() if self.command == "POST" or "data=" in self.path else "passed"
            if isinstance(done, int):
                self._answer(done, [("Retry-After", "1")] if done in (429, 503) else [], b"no")
                return
            if done != CUT_BEFORE:
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
                answer = state.forward(self.command, self.path, body, headers)
                if done != CUT_AFTER:
                    self._answer(*answer)
                    return
            self.close_connection = True

        do_POST = do_GET = _handle  # noqa: N815 (names of the library)

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
