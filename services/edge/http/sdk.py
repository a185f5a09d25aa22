"""The SDK surfaces over HTTP: keys, limits, the log and answers for the families of services/edge/protocols.

They lie beside the native calls: a request comes here when it is none of those.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import TypeVar

import msgspec
from msgspec import Raw
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as HttpScope

from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.sdk import GET_PATHS, POST_PATHS, sdk_path
from services.contract.api.sdk import LOST as LOST_KINDS
from services.contract.api.validation import invalid_json
from services.edge.event_log.port import EventLog, LogUnavailableError, Packed
from services.edge.http.body import Bodies, Body
from services.edge.http.direct import SECONDS
from services.edge.http.quotas import PUT_ASIDE, Quotas
from services.edge.http.rate_limit import RateLimit
from services.edge.http.refused import count_refused_request, is_of
from services.edge.http.routes import EVENTS, count_aside, count_from_zero, count_rejected, unavailable
from services.edge.intake.receive_clock import ReceiveClock
from services.edge.loop_metrics import LoopCounter
from services.edge.protocols.family import Answer, Family, Incoming, Parsed, none_valid
from services.edge.protocols.forms import pairs_of
from services.edge.protocols.messages import FAULTS
from services.edge.protocols.taken import Taken, encode
from services.runtime.byte_budget import BudgetExceededError, ByteBudget
from services.runtime.http import (
    HEADERS_BY_NAME,
    authorization_of,
    bug_response,
    error_response,
    headers_for_pages,
    request_id_of,
)
from services.runtime.http_metrics import HTTP_ERRORS
from services.runtime.keys import Key, KeyCache, Scope
from services.runtime.whole_answer import send_whole

T = TypeVar("T")
# So long a request waits for a log that is away: some SDKs give up within a second. Most wait for ten; Ruby's for eight, and
# then send the same again.
HOLD_S = 8.0
_ASK_AGAIN_S = 0.2
_LEAST_S = 1.0  # the log has so long for an answer, however long the request has waited before
_KEYS_IN_QUERY = frozenset(["writeKey", "writekey", "api_key", "token"])
_METHODS = "GET, POST, OPTIONS"
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
LOST = LoopCounter(
    "headrace_edge_sdk_lost", "Parts of SDK messages that have no place in ours, by kind.", ["family", "kind"]
)


class SdkCalls:
    """An application in front of another one: answers the addresses of the families, and passes all else on."""

    def __init__(
        self,
        app: ASGIApp,
        families: Sequence[Family],
        *,
        log: EventLog,
        keys: KeyCache,
        clock: ReceiveClock,
        rate_limit: RateLimit,
        bodies: Bodies,
        held: ByteBudget,
        quotas: Quotas,
        hold_s: float = HOLD_S,
    ) -> None:
        self._app = app
        self._log = log
        self._keys = keys
        self._clock = clock
        self._rate_limit = rate_limit
        self._bodies = bodies
        self._held_bytes = held
        self._quotas = quotas
        self._usage = quotas.usage
        self._hold_s = hold_s
        self._post: dict[str, list[Family]] = {}
        self._get: dict[str, list[Family]] = {}
        count_from_zero([family.name for family in families])
        for family in families:
            for kind in LOST_KINDS[family.name]:
                LOST.labels(family.name, kind)
            for table, paths in ((self._post, POST_PATHS), (self._get, GET_PATHS)):
                for path in paths[family.name]:
                    table.setdefault(path, []).append(family)

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        shown = sdk_path(scope["path"]) or ""
        post, get = self._post.get(shown), self._get.get(shown)
        if not (post or get):
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        request = Request(scope, receive, send)
        families = {"POST": post, "GET": get, "HEAD": get}.get(method)
        if method == "OPTIONS":
            response = Response(status_code=204, headers=_preflight(request))
        elif families:
            response = await self._respond(request, families)
        else:
            response = _refused_method(request, [name for name, of in (("POST", post), ("GET", get)) if of])
        for_pages = headers_for_pages(request)
        if for_pages or method != "POST":
            response.headers.update(for_pages)
        elif send_whole(send, response):
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request, families: list[Family]) -> Response:
        started = perf_counter()
        incoming = _incoming(request)
        family = families[0]
        try:
            page = family.page(incoming)
            if page is not None:
                return _response(page)
            if request.method == "HEAD":  # it asks for no more than what a page would say
                return _refused_method(request, ["POST", "GET"])
            return await self._take(request, incoming, families)
        except ApiError as error:
            return _answer_refused(request, incoming, error, _refusal_of_all(families, incoming, error))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except Exception as error:
            return bug_response(request, error, "edge")
        finally:
            SECONDS.labels(family.name).observe(perf_counter() - started)

    async def _take(self, request: Request, incoming: Incoming, families: list[Family]) -> Response:
        deadline = asyncio.get_running_loop().time() + self._hold_s
        family = families[0]
        _refuse_two_keys(request)
        key = await self._held(lambda: self._key_before_body(incoming, family), deadline)
        if key is not None:
            is_of(request.scope, key.project_id)
        body = await self._bodies.read_as_sent(request, None if key is None else key.project_id)
        with body:
            incoming.data = body.data
            if request.method == "GET":
                incoming.data = incoming.query.get("data", "").encode()
            if len(families) > 1:
                family = next((one for one in families if one.is_its(incoming)), family)
            try:
                parsed = await _work(body, lambda _: family.parse(incoming))
                taken = None if key is None else await self._translate(body, incoming, family, parsed, key.project_id)
            except ApiError as error:
                return _refusal(request, family, incoming, error)
        if taken is None:
            try:
                taken = await self._translate_by_body_key(request, incoming, family, parsed, deadline)
            except ApiError as error:
                return _refusal(request, family, incoming, error)
        nothing_valid = taken.rejected and not taken.messages
        answer = (family.nothing_valid if nothing_valid else family.answer)(incoming, parsed, taken)
        size = len(incoming.data)
        # Thousands of objects: freed now, their memory is still in the processor's caches.
        del parsed, body
        incoming.data = b""
        try:
            await self._keep(family, taken, size, deadline)
        except ApiError as error:
            return _refusal(request, family, incoming, error)
        if nothing_valid:
            _count(request, none_valid(taken).code)
        return _response(answer)

    async def _translate_by_body_key(
        self, request: Request, incoming: Incoming, family: Family, parsed: Parsed, deadline: float
    ) -> Taken:
        """Of a body that has the key. It has given its turn back: whoever waits for a limit waits outside. Raises ApiError."""
        token, size = parsed.key, len(incoming.data)
        if token is None:
            for message in parsed.messages.items:
                if isinstance(message, ApiError):
                    raise message  # the key may be in there
            raise ApiError(ErrorCode.UNAUTHORIZED, "There is no project key: give it to the SDK as its key.")
        key = await self._held(lambda: self._key_elsewhere(token), deadline, "", size)
        is_of(request.scope, key.project_id)
        self._rate_limit.charge_bytes(key.project_id, size)
        with await self._bodies.again(incoming.data, key.project_id) as body:
            return await self._translate(body, incoming, family, parsed, key.project_id)

    async def _translate(
        self, body: Body, incoming: Incoming, family: Family, parsed: Parsed, project_id: str
    ) -> Taken:
        """The body as messages of ours. Raises ApiError."""
        now = self._clock.now()

        def translate(_: bytes) -> Taken:
            taken = Taken(project_id, now, parsed.text)
            family.take(incoming, parsed, taken)
            return taken

        taken = await _work(body, translate)
        if body.is_large:  # others were received meanwhile
            now = self._clock.now()
            taken.receive(now)
        self._clock.passed(now, taken.lines)
        return taken

    # --- Keys ---

    async def _key_before_body(self, incoming: Incoming, family: Family) -> Key | None:
        in_headers = incoming.key = family.key_in_headers(incoming)
        if in_headers is not None:
            key = await self._keys.authorize_key(in_headers, Scope.INGEST)
            self._rate_limit.take_request(key.project_id)
            return key
        in_query = incoming.key = family.key_in_query(incoming)
        return None if in_query is None else await self._key_elsewhere(in_query)

    async def _key_elsewhere(self, token: str) -> Key:
        """A key that is not in a header: addresses end up in logs, and bodies of web pages are read by their visitors."""
        key = await self._keys.authorize_key(token, Scope.INGEST)
        self._rate_limit.take_request(key.project_id)
        if key.scopes != {Scope.INGEST}:
            raise ApiError(
                ErrorCode.FORBIDDEN,
                "A key in an address or a body must have the scope `ingest` alone. Make one: "
                "`headrace keys create --project <project> --scope ingest`.",
            )
        return key

    # --- Keeping ---

    async def _keep(self, family: Family, taken: Taken, size: int, deadline: float) -> None:
        """Raises ApiError. All of it is in the log when this returns."""
        project_id, count, events = taken.project_id, taken.messages + len(taken.rejected), len(taken.events)
        await self._held(lambda: self._charge(project_id, count), deadline, project_id, size)
        if events and self._quotas.is_used_up(project_id):
            taken.put_events_aside(PUT_ASIDE)
        appends = self._appends(taken)
        await self._held(lambda: self._append(appends, deadline), deadline, project_id, size)
        EVENTS.labels(family.name, "accepted").inc(taken.messages)
        for kind, lost in taken.lost.items():
            if lost:
                LOST.labels(family.name, kind).inc(lost)
        count_rejected(family.name, taken.rejected, project_id)
        if taken.aside:
            count_aside(family.name, len(taken.aside), project_id)
        else:
            self._usage.add(project_id, events, size)

    async def _charge(self, project_id: str, messages: int) -> None:
        self._rate_limit.take_many(project_id, messages)

    def _appends(self, taken: Taken) -> deque[Callable[[], Awaitable[None]]]:
        """What is to be written, in its order."""
        appends: deque[Callable[[], Awaitable[None]]] = deque()
        letters = [rejected.dead_letter(taken.project_id, taken.now) for rejected in taken.rejected]
        if letters := [*letters, *taken.aside]:
            appends.append(lambda: self._log.append_dead_letters(letters))
        if taken.identity:
            appends.append(lambda: self._log.append_identity(taken.identity_ids, taken.identity))
        if taken.events:
            appends.append(self._append_events(taken))
        return appends

    def _append_events(self, taken: Taken) -> Callable[[], Awaitable[None]]:
        """Each attempt is about the same records. The lines are let go of at the first one: thousands of objects."""
        packed: Packed | None = None

        async def append() -> None:
            nonlocal packed
            if packed is None:
                packed = self._log.pack_events(taken.event_ids, taken.events)
                taken.event_ids, taken.events = [], []
            await self._log.append_packed(packed)

        return append

    async def _append(self, appends: deque[Callable[[], Awaitable[None]]], deadline: float) -> None:
        """Takes away what is in the log: the next attempt is about the rest. Raises ApiError 503 when the log has not taken it
        by then; it may do so later, and a resend is the same messages."""
        left = deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(_LEAST_S, left)):
                while appends:
                    await appends[0]()
                    appends.popleft()
        except LogUnavailableError as error:
            raise unavailable(error) from error
        except TimeoutError as error:
            raise unavailable(LogUnavailableError("it did not acknowledge in time")) from error

    async def _held(
        self, attempt: Callable[[], Awaitable[T]], deadline: float, project_id: str = "", size: int = 0
    ) -> T:
        """What the attempt returns. One that is refused for now is made again until the deadline; `size` bytes are held
        meanwhile, and where too many are, the refusal stands."""
        reserved = 0
        try:
            while True:
                try:
                    return await attempt()
                except ApiError as error:
                    pause = _pause(error)
                    left = deadline - asyncio.get_running_loop().time()
                    if pause is None or left <= 0:
                        raise
                    # Where it will be refused then, too, it waits as well: whoever gives up within a second tries again later.
                    pause = min(pause, left)
                    if size and not reserved:
                        try:
                            self._held_bytes.reserve(project_id, size)
                        except BudgetExceededError:
                            raise error from None
                        reserved = size
                await asyncio.sleep(pause)
        finally:
            if reserved:
                self._held_bytes.free(project_id, reserved)


def _pause(error: ApiError) -> float | None:
    """How long to wait before the next attempt; None for what stays refused."""
    if error.code is ErrorCode.RATE_LIMITED:
        return float(error.retry_after_s or 1)
    return _ASK_AGAIN_S if error.code.status == 503 else None


def _refuse_two_keys(request: Request) -> None:
    """Whoever stands in between may take the one or the other. Raises ApiError 401."""
    authorization_of(request)
    if HEADERS_BY_NAME not in request.scope and len(request.headers.getlist("x-write-key")) > 1:
        raise ApiError(ErrorCode.UNAUTHORIZED, "Send one X-Write-Key header: it is not clear which of them counts.")
    if not request.scope["query_string"]:
        return
    given = [name for name, _ in request.query_params.multi_items() if name in _KEYS_IN_QUERY]
    if len(given) > 1:
        raise ApiError(ErrorCode.UNAUTHORIZED, "Send one key in the address: it is not clear which of them counts.")


async def _work(body: Body, work: Callable[[bytes], T]) -> T:
    """Raises ApiError, also for JSON that turns out to be none on a closer look."""
    try:
        return await body.in_thread(work) if body.is_large else work(body.data)
    except FAULTS as error:
        raise invalid_json(error) from error


def _incoming(request: Request) -> Incoming:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}
    client = request.scope.get("client")
    # The gateway writes the address that it has seen behind whatever the client wrote.
    forwarded = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    # Behind several proxies the first of a list is what the client speaks.
    said = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    scheme = said if said in ("http", "https") else request.scope["scheme"]
    return Incoming(
        path=request.scope["path"].removesuffix("/"),
        query=dict(pairs_of(request.scope["query_string"])) if request.scope["query_string"] else {},
        headers=headers,
        address=forwarded or (client[0] if client else ""),
        base_url=f"{scheme}://{headers.get('host', '')}",
        request_id=request_id_of(request),
    )


def _response(answer: Answer) -> Response:
    return Response(
        answer.body,
        answer.status,
        {"cache-control": "no-store", "x-content-type-options": "nosniff"},
        answer.media_type,
    )


def _refusal(request: Request, family: Family, incoming: Incoming, error: ApiError) -> Response:
    return _answer_refused(request, incoming, error, family.refuse(incoming, error))


def _refusal_of_all(families: Sequence[Family], incoming: Incoming, error: ApiError) -> Answer:
    """Before the body was read nobody knows whose it is: the answer says what each of them looks for."""
    answers = [family.refuse(incoming, error) for family in families]
    if len(answers) > 1:
        members: dict[str, Raw] = {}
        for answer in answers:
            members |= _decode_members(answer.body)
        answers[0].body = encode(members)
    return answers[0]


def _answer_refused(request: Request, incoming: Incoming, error: ApiError, answer: Answer) -> Response:
    _count(request, error.code)
    response = _response(answer)
    response.headers["x-request-id"] = incoming.request_id
    if error.retry_after_s is not None and response.status_code in (429, 503):
        response.headers["retry-after"] = str(error.retry_after_s)
    return response


def _refused_method(request: Request, methods: list[str]) -> Response:
    error = ApiError(
        ErrorCode.METHOD_NOT_ALLOWED, f"This address takes {' and '.join(methods)}, not {request.method[:50]}."
    )
    response = error_response(request, error, "edge")
    response.headers["allow"] = ", ".join([*methods, "OPTIONS"])
    return response


def _count(request: Request, code: ErrorCode) -> None:
    HTTP_ERRORS.labels("edge", code.code).inc()
    count_refused_request(request.scope, code)


def _preflight(request: Request) -> Mapping[str, str]:
    asked = request.headers.get("access-control-request-headers", "")
    return {
        "access-control-allow-methods": _METHODS,
        "access-control-allow-headers": asked,
        "access-control-allow-private-network": "true",
        "access-control-max-age": "86400",
        "allow": _METHODS,
    }
