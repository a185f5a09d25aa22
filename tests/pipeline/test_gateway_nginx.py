"""The gateway's configuration in nginx itself, where it is installed: what nginx refuses has the contract's shape."""

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from services.devstack.child_process import free_port
from tests.support.nginx import nginx

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "gateway.conf"
# What versions before 1.29 do not know, and what a container has that this machine has not.
_NEWER = [(r" resolve max_fails", " max_fails"), (r"max_headers \d+;", ""), (r"keepalive_timeout [^;]*;", "")]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where nginx listens. Nothing answers behind it."""
    program = nginx()
    if program is None:
        pytest.skip("nginx is not installed")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    text = CONFIGURATION.read_text(encoding="utf-8")
    places = {
        "/tmp/": f"{folder}/",  # noqa: S108 (the container's)
        "listen 8080": f"listen 127.0.0.1:{port}",
        "listen 127.0.0.1:8081": f"listen 127.0.0.1:{free_port()}",
        "server edge:8001": f"server 127.0.0.1:{free_port()}",
        "server query:8002": f"server 127.0.0.1:{free_port()}",
        "server console:8004": f"server 127.0.0.1:{free_port()}",
        "resolver 127.0.0.11": "resolver 127.0.0.1",
        "client_header_timeout 15s": "client_header_timeout 1s",
        "access_log /dev/stdout": f"access_log {folder}/access.log",
    }
    for before, after in places.items():
        assert before in text
        text = text.replace(before, after)
    for pattern, after in _NEWER:
        text = re.sub(pattern, after, text)
    path = folder / "nginx.conf"
    path.write_text(text, encoding="utf-8")
    command = [program, "-c", str(path), "-e", str(folder / "error.log"), "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:  # noqa: S603 (found above)
        try:
            _wait_for(port, process)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError("nginx did not start")


HOST = b"host: a\r\nconnection: close\r\n"
TRACK = b"POST /v1/analytics/track HTTP/1.1\r\n" + HOST
REFUSED = {
    "no HTTP": (b"GARBAGE\r\n\r\n", 400, "invalid_request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "invalid_request"),
    "another version": (b"GET /docs HTTP/9.1\r\n" + HOST + b"\r\n", 400, "invalid_request"),
    "above the root": (b"GET /../.. HTTP/1.1\r\n" + HOST + b"\r\n", 400, "invalid_request"),
    "two hosts": (b"GET / HTTP/1.1\r\nhost: b\r\n" + HOST + b"\r\n", 400, "invalid_request"),
    "no length": (TRACK + b"content-length: x\r\n\r\n", 400, "invalid_request"),
    "an encoding of its own": (TRACK + b"transfer-encoding: zip\r\n\r\n", 400, "invalid_request"),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "invalid_request"),
    "TRACE": (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "invalid_request"),
    "a long address": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431, "headers_too_large"),
    "a long header": (TRACK + b"x: " + b"y" * 70_000 + b"\r\n\r\n", 431, "headers_too_large"),
    "a large body": (TRACK + b"content-length: 999999999\r\n\r\n", 413, "body_too_large"),
    "its own page": (b"GET /refused/not_found HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found"),
    "metrics": (b"GET /v1/analytics/%2e%2e/../metrics HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found"),
    "nobody takes events": (TRACK + b"content-length: 0\r\n\r\n", 503, "log_unavailable"),
    "nobody answers": (b"GET /v1/analytics/persons/a HTTP/1.1\r\n" + HOST + b"\r\n", 503, "store_unavailable"),
    "no console answers": (b"GET /console/live HTTP/1.1\r\n" + HOST + b"\r\n", 503, "store_unavailable"),
}


@pytest.mark.parametrize(("request_text", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_nginx_refuses_has_the_contract_s_shape(port: int, request_text: bytes, status: int, code: str) -> None:
    head, body = _exchange(port, request_text)
    assert head.startswith(f"HTTP/1.1 {status}".encode())
    assert b"application/json" in head
    answer = json.loads(body)
    assert answer["error"]["code"] == code
    assert answer["request_id"]


@pytest.mark.parametrize("path", [b"/track/", b"/v1/batch", b"/v1/analytics/track"])
def test_pages_that_send_with_credentials_read_that_nobody_takes_events(port: int, path: bytes) -> None:
    """Mixpanel's SDK does, and drops what it cannot read the answer to."""
    request = b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"origin: https://shop.example\r\ncontent-length: 0\r\n\r\n"
    head, _ = _exchange(port, request)
    lines = head.lower().split(b"\r\n")
    assert lines[0].startswith(b"http/1.1 503")
    for line in (b"access-control-allow-origin: https://shop.example", b"access-control-allow-credentials: true"):
        assert line in lines


def test_a_head_that_does_not_end_is_given_up(port: int) -> None:
    began = time.monotonic()
    assert _exchange(port, b"POST /v1/analytics/track HTTP/1.1\r\nhost: a\r\n") == (b"", b"")
    assert 0.9 < time.monotonic() - began < 5


def _exchange(port: int, request_text: bytes) -> tuple[bytes, bytes]:
    """Head and body of what comes until nginx closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection, suppress(ConnectionError):
        connection.sendall(request_text)
        while some := connection.recv(65536):
            answer += some
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body
