"""Heads, half-sent requests, unread answers and connections are bounded, and what is refused has the one shape."""

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime import connections as connections_module
from services.runtime import http_protocol
from services.runtime.connections import ConnectionLimits, Connections, client_of
from services.runtime.http_protocol import MAX_HEAD_BYTES, MAX_HEADERS
from tests.fakes.transport import MemoryConnection
from tests.support.examples import examples

GET = b"GET /a HTTP/1.1\r\n\r\n"
# A step of the loop: what nobody may make longer. The bound is CPU time, with room for a busy machine.
LONGEST_STEP_S = 0.05


@pytest.fixture(autouse=True, scope="module")
def _no_collection() -> Iterator[None]:
    """Looking for cycles among all objects of the test process is no step of ours."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Echo:
    """Says what it was asked: method, path, number of headers, bytes of the body. Counts calls, and who left."""

    def __init__(self, answer_bytes: int = 0) -> None:
        self.asked: list[str] = []
        self.left = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._answer_bytes = answer_bytes
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                self.left += 1
                return
            size += len(message["body"])
            more = message["more_body"]
        await self.go_on.wait()
        self.headers = list(scope["headers"])
        said = f"{scope['method']} {scope['raw_path'].decode()} {len(scope['headers'])} {size}"
        self.asked.append(said)
        body = said.encode().ljust(self._answer_bytes)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())],
            }
        )
        await send({"type": "http.response.body", "body": body})


async def refuse_at_once(scope: Any, receive: Any, send: Any) -> None:
    """Answers before the body."""
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def refusal(answer: bytes) -> tuple[int, str]:
    """(status, code) of an answer in the one shape."""
    head, _, text = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    body = json.loads(text)
    assert set(body) == {"error", "request_id"}
    assert body["error"]["message"]
    return int(head.split()[1]), body["error"]["code"]


def head(size: int, headers: int = 3, start: bytes = b"GET /a HTTP/1.1\r\n") -> bytes:
    """A request of so many bytes and headers."""
    lines = b"".join(b"h%d: x\r\n" % n for n in range(headers - 1))
    filler = size - len(start) - len(lines) - len(b"f: \r\n\r\n")
    return start + lines + b"f: " + b"y" * filler + b"\r\n\r\n"


@pytest.mark.parametrize("read_bytes", [1, 7, 1000, 8192, 65536, 256_000])
async def test_a_head_of_the_largest_size_passes(read_bytes: int) -> None:
    app = Echo()
    size = MAX_HEAD_BYTES if read_bytes > 7 else 3000
    await MemoryConnection(app).exchange(head(size, MAX_HEADERS), read_bytes)
    assert app.asked == [f"GET /a {MAX_HEADERS} 0"]


# As much as shows that the cost does not grow with it.
TOO_LARGE = {
    "one byte more": head(MAX_HEAD_BYTES + 1),
    "one header more": head(2000, MAX_HEADERS + 1),
    "one value": head(20_000_000),
    "one value without an end": b"GET /a HTTP/1.1\r\nx: " + b"y" * 20_000_000,
    "one name without an end": b"GET /a HTTP/1.1\r\n" + b"y" * 20_000_000,
    "an address": b"GET /" + b"y" * 20_000_000 + b" HTTP/1.1\r\n\r\n",
    "an address without an end": b"GET /" + b"y" * 20_000_000,
    "small headers": b"GET /a HTTP/1.1\r\n" + b"a:\r\n" * 1_000_000,
    "folded lines": b"GET /a HTTP/1.1\r\nx: y\r\n" + b"a: b\r\n" * 101 + b"\r\n",
    "trailers": b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"a: b\r\n" * 1_000_000,
    "one trailer": b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\na: " + b"b" * 20_000_000,
    "beside a chunk's size": b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;x=" + b"b" * 20_000_000,
    "behind an upgrade": b"GET /a HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n" + b"a: b\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize("sent", TOO_LARGE.values(), ids=TOO_LARGE.keys())
@pytest.mark.parametrize("read_bytes", [1500, 65536, 256_000])
async def test_a_larger_head_is_refused_and_costs_little(sent: bytes, read_bytes: int) -> None:
    app = Echo()
    client = MemoryConnection(app)
    assert refusal(await client.exchange(sent[: 40 * read_bytes + 200_000], read_bytes)) == (431, "headers_too_large")
    assert app.asked == []
    assert client.longest_step_s < LONGEST_STEP_S


async def test_a_large_head_behind_another_request_is_refused_after_its_answer() -> None:
    app = Echo()
    client = MemoryConnection(app)
    await client.exchange(GET)
    answers = await client.exchange(head(MAX_HEAD_BYTES + 1))
    assert refusal(answers[answers.index(b"HTTP/1.1 431") :]) == (431, "headers_too_large")
    together = MemoryConnection(app)
    answers = await together.exchange(GET + head(MAX_HEAD_BYTES + 1))
    assert answers.startswith(b"HTTP/1.1 200")
    assert refusal(answers[answers.index(b"HTTP/1.1 431") :]) == (431, "headers_too_large")
    slow = Echo()
    slow.go_on.clear()
    waiting = MemoryConnection(slow)
    await waiting.send(GET + GET + b"nonsense\r\n\r\n")
    slow.go_on.set()
    answers = await waiting.answers()
    assert answers.count(b"HTTP/1.1 200") == 2
    assert refusal(answers[answers.index(b"HTTP/1.1 400") :]) == (400, "invalid_request")


async def test_trailers_are_not_headers() -> None:
    app = Echo()
    body = b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nauthorization: Bearer x\r\n\r\n"
    client = MemoryConnection(app)
    app.go_on.clear()
    await client.send(b"POST /a HTTP/1.1\r\n" + body)
    app.go_on.set()
    await client.answers()
    assert app.asked == ["POST /a 1 3"]
    assert b"authorization" not in dict(app.headers)


async def test_trailers_after_an_early_answer_are_bounded_too() -> None:
    start = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n"
    client = MemoryConnection(refuse_at_once)
    await client.exchange(start)
    await client.exchange(b"0\r\na: " + b"b" * 10_000_000)
    assert client.transport.closed
    assert bytes(client.transport.written).startswith(b"HTTP/1.1 401")
    assert client.longest_step_s < LONGEST_STEP_S


INVALID = [
    b"nonsense\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /a HTTP/9.9\r\n\r\n",
    b"GET http://host#part HTTP/1.1\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
    b"GET /a HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET /a HTTP/1.1\r\nx: a\x00b\r\n\r\n",
    b"POST /a HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    b"POST /a HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    b"POST /a HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    b"POST /a HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
    b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
]


@pytest.mark.parametrize("sent", INVALID, ids=range(len(INVALID)))
async def test_what_is_no_http_is_refused_in_the_one_shape(sent: bytes) -> None:
    app = Echo()
    client = MemoryConnection(app)
    assert refusal(await client.exchange(sent)) == (400, "invalid_request")
    assert app.asked == []


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"post /a HTTP/1.1\r\n\r\n", "method"),
        (b"GET /a b HTTP/1.1\r\n\r\n", "Expected HTTP/"),
        (b"GET /\xc3\xa4 HTTP/1.1\r\n\r\n", "url path"),
        (b"GET /a HTTP/1.1\r\nx: a\x00b\r\n\r\n", "header value"),
        (b"POST /a HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", "Duplicate Content-Length"),
        (b"POST /a HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", "Transfer-Encoding"),
        (b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "chunk size"),
    ],
)
async def test_a_refusal_says_what_is_wrong_with_the_request(sent: bytes, says: str) -> None:
    answer = await MemoryConnection(Echo()).exchange(sent)
    assert says in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]


@pytest.mark.parametrize("query", [b"", b"?a=b"])
async def test_an_address_with_a_host_and_no_path_is_that_of_the_root(query: bytes) -> None:
    app = Echo()
    await MemoryConnection(app).exchange(b"GET http://host%b HTTP/1.1\r\n\r\n" % query)
    assert app.asked == ["GET / 0 0"]


async def test_a_proxy_s_method_is_not_taken() -> None:
    assert refusal(await MemoryConnection(Echo()).exchange(b"CONNECT a:443 HTTP/1.1\r\n\r\n")) == (
        405,
        "method_not_allowed",
    )


@pytest.mark.parametrize("offer", [b"h2c", b"websocket", b"TLS/1.0", b"foo, bar"])
@pytest.mark.parametrize("read_bytes", [1, 20, 1000])
async def test_another_protocol_is_not_spoken_and_the_request_is_answered(offer: bytes, read_bytes: int) -> None:
    app = Echo()
    request = (
        b"POST /a HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\nupgrade: "
        + offer
        + b"\r\ncontent-length: 5\r\n\r\nhello"
    )
    await MemoryConnection(app).exchange(request + GET + request + GET, read_bytes)
    assert app.asked == ["POST /a 3 5", "GET /a 0 0"] * 2


@pytest.mark.parametrize("read_bytes", [10, 1000, 8192, 256_000])
async def test_bodies_and_pipelined_requests_come_through_whole(read_bytes: int) -> None:
    app = Echo()
    client = MemoryConnection(app)
    sizes = [0, 1, 8191, 8192, 8193, 70_000] if read_bytes > 10 else [0, 1, 900]
    sent = b""
    for size in sizes:
        sent += b"POST /a HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size
        sent += b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        sent += (b"%x\r\n" % size + b"x" * size + b"\r\n" if size else b"") + b"0\r\n\r\n"
    await client.exchange(sent, read_bytes)
    assert app.asked == [said for size in sizes for said in (f"POST /a 1 {size}",) * 2]
    assert not client.transport.closed


POST = b"POST /a HTTP/1.1\r\ncontent-length: 2\r\n%s\r\nhi"


@pytest.mark.parametrize(
    ("last", "asked"),
    [
        (b"", ["GET /a 0 0", "POST /a 1 2", "GET /a 0 0"]),
        (POST % b"", ["GET /a 0 0", "POST /a 1 2", "GET /a 0 0", "POST /a 1 2"]),
        (POST[:-1] % b"", ["GET /a 0 0", "POST /a 1 2", "GET /a 0 0"]),
        (POST % b"connection: close\r\n" + GET, ["GET /a 0 0", "POST /a 1 2", "GET /a 0 0", "POST /a 2 2"]),
    ],
    ids=["whole", "with a body", "half a body", "closing"],
)
async def test_pipelined_requests_that_came_whole_are_taken_though_their_client_is_gone(
    last: bytes, asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for leave in (MemoryConnection.reset, MemoryConnection.end):
        app = Echo()
        app.go_on.clear()
        client = MemoryConnection(app)
        await client.send(GET + POST % b"" + GET + last)
        await client.step()
        leave(client)
        await client.step()
        app.go_on.set()
        answers = await client.answers()
        assert answers.count(b"HTTP/1.1 200") == (len(asked) if leave is MemoryConnection.end else 0)
        assert app.asked == asked
        assert not caplog.records


@pytest.mark.parametrize("leave", [MemoryConnection.reset, MemoryConnection.end])
async def test_what_is_pipelined_behind_a_request_that_closes_is_not_taken(leave: Any) -> None:
    app = Echo()
    client = MemoryConnection(app)
    await client.send(POST % b"connection: close\r\n" + GET * 2)
    leave(client)
    await client.answers()
    assert app.asked == ["POST /a 2 2"]


@pytest.mark.parametrize(("leave", "answers"), [(MemoryConnection.reset, 0), (MemoryConnection.end, 1)])
async def test_a_body_that_came_whole_is_read_though_its_client_has_closed_meanwhile(leave: Any, answers: int) -> None:
    app, key_is_known = Echo(), asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await key_is_known.wait()
        await app(scope, receive, send)

    whole, half = MemoryConnection(application), MemoryConnection(application)
    for client, sent in ((whole, POST % b""), (half, POST[:-1] % b"")):
        await client.send(sent)
        leave(client)
        await client.step()
    key_is_known.set()
    assert (await whole.answers()).count(b"HTTP/1.1 200") == answers
    assert await half.answers() == b""
    assert (app.asked, whole.transport.closed, half.transport.closed) == (["POST /a 1 2"], True, True)


async def test_who_has_sent_all_and_said_so_is_answered() -> None:
    app = Echo()
    app.go_on.clear()
    client = MemoryConnection(app)
    await client.send(POST % b"")
    await client.step()
    client.end()
    app.go_on.set()
    assert (await client.answers()).startswith(b"HTTP/1.1 200")
    assert client.transport.closed


async def test_many_pipelined_requests_are_answered_a_few_at_a_time() -> None:
    app = Echo()
    client = MemoryConnection(app)
    await client.send(GET * 5000)
    async with asyncio.timeout(20):
        while len(app.asked) < 5000:
            await client.step()
    assert client.longest_step_s < LONGEST_STEP_S


async def test_a_body_in_the_smallest_chunks_does_not_hold_up_others() -> None:
    app = Echo()
    client = MemoryConnection(app)
    await client.exchange(
        b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
    )
    assert app.asked == ["POST /a 1 50000"]
    assert client.longest_step_s < LONGEST_STEP_S


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "_LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(http_protocol, "NO_PROGRESS_S", 0.4)
    monkeypatch.setattr(http_protocol, "WHOLE_REQUEST_S", 0.6)
    monkeypatch.setattr(http_protocol, "_LINGER_S", 0.05)


HALF = {
    "a line": b"GET /a HT",
    "a head": b"GET /a HTTP/1.1\r\nhost: x\r\n",
    "a body": b"POST /a HTTP/1.1\r\ncontent-length: 10\r\n\r\nhello",
    "no body": b"POST /a HTTP/1.1\r\ncontent-length: 10\r\n\r\n",
    "chunks": b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "an upgrade": b"POST /a HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 9\r\n\r\nhe",
}


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("sent", HALF.values(), ids=HALF.keys())
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
async def test_a_half_sent_request_is_given_up(sent: bytes, before: bytes) -> None:
    app = Echo()
    client = MemoryConnection(app)
    await client.exchange(before)
    await client.send(sent)
    await client.closed()
    answer = bytes(client.transport.written)
    assert refusal(answer[answer.rindex(b"HTTP/1.1 408") :]) == (408, "request_timeout")
    assert app.asked == (["GET /a 0 0"] if before else [])
    await client.step()
    assert app.left == (1 if b"\r\n\r\n" in sent else 0)


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize(
    "start",
    [b"GET /a HTTP/1.1\r\nx: ", b"POST /a HTTP/1.1\r\ncontent-length: 100000\r\n\r\n"],
    ids=["head", "body"],
)
async def test_a_request_that_trickles_in_is_given_up(start: bytes) -> None:
    client = MemoryConnection(Echo())
    await client.send(start)
    started = asyncio.get_running_loop().time()
    while not client.transport.written:
        await client.send(b"y")
        await asyncio.sleep(0.02)
    assert 0.5 < asyncio.get_running_loop().time() - started < 3
    assert refusal(bytes(client.transport.written)) == (408, "request_timeout")


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r\n\r\n"], ids=["nothing", "an empty line", "two"])
async def test_a_connection_without_a_request_is_closed(sent: bytes) -> None:
    client = MemoryConnection(Echo())
    await client.send(sent)
    await client.closed()
    assert client.transport.written == b""
    kept = MemoryConnection(Echo())
    await kept.exchange(GET + b"\r\n")
    if sent:
        await kept.send(sent)
        await kept.closed()


@pytest.mark.usefixtures("short_waits")
async def test_whoever_waits_for_us_is_not_given_up() -> None:
    app = Echo()
    app.go_on.clear()
    whole, pipelined, expecting = MemoryConnection(app), MemoryConnection(app), MemoryConnection(slow_to_read)
    await whole.send(GET)
    await pipelined.send(GET * 3 + b"GET /half")
    await expecting.send(b"POST /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    await asyncio.sleep(1)
    for client in (whole, pipelined, expecting):
        assert not client.transport.closed
    app.go_on.set()
    await whole.answers()
    await expecting.exchange(b"hello")
    assert bytes(expecting.transport.written).startswith(b"HTTP/1.1 100 Continue")
    assert app.asked == ["GET /a 0 0"] * 4


EXPECTING = b"POST /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"


async def test_who_waits_to_send_a_body_and_is_answered_at_once_is_asked_for_no_more() -> None:
    """What comes next would be taken for the body."""
    client = MemoryConnection(refuses)
    answer = await client.exchange(EXPECTING)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close\r\n" in answer
    assert client.transport.closed


async def test_who_sends_the_body_keeps_the_connection() -> None:
    asked, at_once = MemoryConnection(Echo()), MemoryConnection(refuses)
    await asked.send(EXPECTING)
    await asked.exchange(b"hello")
    assert asked.transport.written.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    await at_once.exchange(EXPECTING + b"hello")
    assert at_once.transport.written.startswith(b"HTTP/1.1 401 ")
    for client in (asked, at_once):
        assert b"connection: close" not in client.transport.written
        assert not client.transport.closed


async def test_http_1_0_knows_no_answer_before_the_answer() -> None:
    client = MemoryConnection(Echo())
    answer = await client.exchange(EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0") + b"hello")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert client.transport.closed


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def slow_to_read(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0.8)
    await Echo()(scope, receive, send)


@pytest.mark.usefixtures("short_waits")
async def test_an_answer_that_nobody_reads_is_given_up_and_a_slow_reader_is_not() -> None:
    stuck, slow = MemoryConnection(Echo(1_000_000)), MemoryConnection(Echo(1_000_000))
    for client in (stuck, slow):
        client.transport.reads = False
        await client.send(GET)
    for _ in range(8):
        await asyncio.sleep(0.1)
        slow.transport.take(100_000)
    assert stuck.transport.closed
    assert not slow.transport.closed


async def test_connections_are_bounded_in_all_and_by_address() -> None:
    connections = Connections(ConnectionLimits(in_all=3, of_address=2))
    first = [MemoryConnection(Echo(), connections, address) for address in ("192.0.2.1", "192.0.2.1")]
    for refused in (MemoryConnection(Echo(), connections, "192.0.2.1"),):
        assert refusal(bytes(refused.transport.written)) == (503, "too_many_connections")
        assert b"retry-after: " in refused.transport.written
    other = MemoryConnection(Echo(), connections, "192.0.2.2")
    assert refusal(bytes(MemoryConnection(Echo(), connections, "192.0.2.3").transport.written))[0] == 503
    first[0].transport.close()
    await first[0].step()
    again = MemoryConnection(Echo(), connections, "192.0.2.1")
    for client in (first[1], other, again):
        assert (await client.exchange(GET)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_an_ipv6_network_is_one_client(address: str, client: str) -> None:
    assert client_of(address) == client


TOKEN = st.binary(max_size=12)
LINES = st.one_of(
    st.tuples(TOKEN, st.binary(max_size=40)).map(lambda pair: pair[0] + b": " + pair[1]),
    st.sampled_from(
        [
            b"content-length: 3",
            b"content-length: 0",
            b"transfer-encoding: chunked",
            b"connection: close",
            b"connection: upgrade",
            b"upgrade: h2c",
            b"expect: 100-continue",
        ]
    ),
)
REQUESTS = st.builds(
    lambda start, lines, body: start + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body,
    st.sampled_from([b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"POST /a HTTP/1.0", b"HEAD * HTTP/1.1", b"X Y Z"]),
    st.lists(LINES, max_size=5),
    st.sampled_from([b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\n\r\n"]) | TOKEN,
)


@examples(150)
@given(
    st.lists(REQUESTS, min_size=1, max_size=4), st.sampled_from([1, 5, 100, 10_000]), st.sampled_from([1, 400, 3000])
)
def test_whatever_is_sent_no_step_is_long_and_every_answer_is_ours(
    requests: list[bytes], read_bytes: int, times: int
) -> None:
    sent = b"".join(requests) * (times if read_bytes > 5 else 1)

    async def send() -> None:
        client = MemoryConnection(Echo())
        await client.send(sent[: read_bytes * 200], read_bytes)
        answers = await client.answers(30)
        statuses = {line.split()[1] for line in answers.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")}
        assert statuses <= {b"100", b"200", b"400", b"405", b"431"}
        assert client.longest_step_s < LONGEST_STEP_S
        client.transport.close()
        await client.step()

    asyncio.run(send())


def idle_connection(timeout_s: float, app: Echo | None = None) -> MemoryConnection:
    connection = MemoryConnection(app or Echo())
    connection._protocol.timeout_keep_alive = timeout_s  # type: ignore[assignment]
    return connection


async def test_a_connection_without_requests_is_closed_so_long_after_the_last_answer() -> None:
    connection, loop = idle_connection(0.3), asyncio.get_running_loop()
    for _ in range(3):
        await connection.exchange(GET)
        answered = loop.time()
        await asyncio.sleep(0.2)
        assert not connection.transport.closed
    await connection.closed(2)
    assert loop.time() - answered >= 0.29


async def test_a_request_that_takes_long_is_not_idle() -> None:
    app = Echo()
    connection = idle_connection(0.1, app)
    await connection.exchange(GET)
    app.go_on.clear()
    await connection.send(GET)
    await asyncio.sleep(0.3)
    assert not connection.transport.closed
    app.go_on.set()
    assert (await connection.answers()).count(b"200 OK") == 2
    await connection.closed(2)


async def test_a_connection_that_is_gone_leaves_no_timer() -> None:
    connection = idle_connection(60)
    await connection.exchange(GET)
    protocol = connection._protocol
    assert protocol._idle_timer is not None
    connection.reset()
    await connection.step()
    assert protocol._idle_timer.cancelled()
