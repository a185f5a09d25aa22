"""The edge's calls: HTTP only. What a body means is intake's; that it is kept is the event log's."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from time import perf_counter

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import MAX_IDEMPOTENCY_KEY_CHARS, Accepted, AliasResult, Done, RejectedEvent
from services.edge.event_log.port import EventLog, LogUnavailableError
from services.edge.http.body import Bodies, Body
from services.edge.http.direct import Endpoint
from services.edge.http.rate_limit import RateLimit
from services.edge.intake.identity import IdentityIntake, take_alias, take_group, take_identify
from services.edge.intake.json_split import at_once
from services.edge.intake.placeholders import is_placeholder_key, placeholder_warning
from services.edge.intake.receive_clock import ReceiveClock
from services.edge.intake.second_pass import Pass, batch_pass, track_pass
from services.edge.intake.track import Intake, take_clean_batch, take_clean_track
from services.edge.loop_metrics import LoopCounter
from services.runtime.clock import Clock
from services.runtime.http import header, json_response
from services.runtime.keys import Key, KeyCache, Scope

_RETRY_AFTER_S = 2
# A second pass over a larger body lets others be served in between, after so long at a time.
_SMALL_BODY_BYTES = 64 * 1024
_STEP_S = 0.005
EVENTS = LoopCounter("headrace_edge_events", "Events by what became of them.", ["call", "result"])
# Most answers to single events; a response may be sent any number of times.
_ONE_ACCEPTED = json_response(Accepted(ok=True, accepted=1))
_NAMES = ("track", "batch", "identify", "alias", "group")
_ACCEPTED = {name: EVENTS.labels(name, "accepted") for name in _NAMES}


class EdgeRoutes:
    """The five ingest calls over an event log."""

    def __init__(self, log: EventLog, keys: KeyCache, clock: Clock, rate_limit: RateLimit, bodies: Bodies) -> None:
        self._log = log
        self._keys = keys
        self._clock = ReceiveClock(clock)
        self._second_passes = asyncio.Lock()
        self._rate_limit = rate_limit
        self._bodies = bodies

    def endpoints(self) -> dict[str, Endpoint]:
        """The calls by path; each is a POST."""
        calls = {
            "track": self.track,
            "batch": self.batch,
            "identify": self.identify,
            "alias": self.alias,
            "group": self.group,
        }
        return {f"{BASE_PATH}/{name}": Endpoint(name, call) for name, call in calls.items()}

    async def track(self, request: Request) -> Response:
        key = await self._authorize(request)
        header_key, warnings = _idempotency_header(request)
        with await self._bodies.read(request, key.project_id) as body:
            now = self._clock.now()
            intake = await self._taken(
                body,
                now,
                lambda data: take_clean_track(data, key.project_id, now, header_key),
                lambda data: track_pass(data, key.project_id, now, header_key),
            )
        intake.warnings += warnings
        return await self._keep("track", intake, key.project_id, now)

    async def batch(self, request: Request) -> Response:
        key = await self._authorize(request)
        header_key, warnings = _idempotency_header(request)
        with await self._bodies.read(request, key.project_id) as body:
            now = self._clock.now()
            intake = await self._taken(
                body,
                now,
                lambda data: take_clean_batch(data, key.project_id, now, header_key),
                lambda data: batch_pass(data, key.project_id, now, header_key),
            )
        intake.warnings += warnings
        return await self._keep("batch", intake, key.project_id, now)

    async def _taken(
        self,
        body: Body,
        now: datetime,
        clean: Callable[[bytes], Intake | None],
        second: Callable[[bytes], Pass],
    ) -> Intake:
        """The clean pass, of a large body in a thread; where it finds a fault, the second pass."""
        intake = await body.in_thread(clean) if body.is_large else clean(body.data)
        if intake is None:
            return await self._second_pass(body.data, second(body.data))
        if body.is_large:  # others were received meanwhile
            now = self._clock.now()
            intake.receive(now)
        self._clock.passed(now, len(intake.lines))
        return intake

    async def _second_pass(self, body: bytes, steps: Pass) -> Intake:
        """One large body at a time, and others are served meanwhile: a client's faults must not keep them waiting."""
        if len(body) <= _SMALL_BODY_BYTES:
            intake = at_once(steps)
        else:
            async with self._second_passes:
                intake = await _run_in_turns(steps)
        now = self._clock.now()
        intake.receive(now)
        self._clock.passed(now, len(intake.lines))
        return intake

    async def identify(self, request: Request) -> Response:
        warnings = (await self._identity(request, "identify", take_identify)).warnings
        return json_response(Done(warnings=warnings or UNSET))

    async def group(self, request: Request) -> Response:
        warnings = (await self._identity(request, "group", take_group)).warnings
        return json_response(Done(warnings=warnings or UNSET))

    async def alias(self, request: Request) -> Response:
        intake = await self._identity(request, "alias", take_alias)
        return json_response(AliasResult(merged=bool(intake.lines), warnings=intake.warnings or UNSET))

    async def _keep(self, call: str, intake: Intake, project_id: str, now: datetime) -> Response:
        """Log what was taken and what was rejected, then answer."""
        accepted, rejected = len(intake.lines), len(intake.rejected)
        self._rate_limit.take(project_id, accepted + rejected)
        try:
            # The rejected first: should the log fail in between, a retry doubles dead letters, not events without keys.
            if rejected:
                await self._log.append_dead_letters([r.dead_letter(project_id, now) for r in intake.rejected])
            if accepted:
                await self._log.append_events(*intake.hand_over())
        except LogUnavailableError as error:
            raise _unavailable(error) from error
        _ACCEPTED[call].inc(accepted)
        if rejected == 0:
            if accepted == 1 and not intake.warnings:
                return _ONE_ACCEPTED
            return json_response(Accepted(ok=True, accepted=accepted, warnings=intake.warnings or UNSET))
        EVENTS.labels(call, "rejected").inc(rejected)
        if accepted == 0:
            raise _none_valid(intake)
        errors = [
            RejectedEvent(r.index, r.error.code.code, r.error.message, r.error.field or UNSET) for r in intake.rejected
        ]
        return json_response(Accepted(ok=False, accepted=accepted, errors=errors, warnings=intake.warnings or UNSET))

    async def _identity(
        self, request: Request, call: str, take: Callable[[bytes, str, datetime, str | None], IdentityIntake]
    ) -> IdentityIntake:
        key = await self._authorize(request)
        header_key, warnings = _idempotency_header(request)
        with await self._bodies.read(request, key.project_id) as body:
            now = self._clock.now()
            if body.is_large:
                intake = await body.in_thread(lambda data: take(data, key.project_id, now, header_key))
            else:
                intake = take(body.data, key.project_id, now, header_key)
        self._clock.passed(now, 1)
        intake.warnings += warnings
        self._rate_limit.take(key.project_id, 1)
        if intake.lines:
            try:
                await self._log.append_identity(intake.ids, intake.lines)
            except LogUnavailableError as error:
                raise _unavailable(error) from error
        _ACCEPTED[call].inc()
        return intake

    async def _authorize(self, request: Request) -> Key:
        given = header(request, b"authorization")
        token = request.query_params.get("key") if given is None and request.scope["query_string"] else None
        if token is None:
            key = await self._keys.authorize(given, Scope.INGEST)
            self._rate_limit.take_request(key.project_id)
            return key
        key = await self._keys.authorize_key(token, Scope.INGEST)
        self._rate_limit.take_request(key.project_id)
        if key.scopes != {Scope.INGEST}:
            raise ApiError(
                ErrorCode.FORBIDDEN,
                "A key in the address must have the scope `ingest` alone: addresses end up in logs and histories.",
            )
        return key


async def _run_in_turns(steps: Pass) -> Intake:
    since = perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            intake: Intake = end.value
            return intake
        if perf_counter() - since > _STEP_S:
            await asyncio.sleep(0)
            since = perf_counter()


def _idempotency_header(request: Request) -> tuple[str | None, list[str]]:
    """The header's key, and a warning where it is a placeholder, which counts as none. Raises ApiError."""
    value = header(request, b"idempotency-key")
    if value is None:
        return None, []
    # HTTP does not say how other characters are written in a header, and a key must be the same key here as in a body.
    if len(value) > MAX_IDEMPOTENCY_KEY_CHARS or not (value.isascii() and value.isprintable()):
        raise ApiError(
            ErrorCode.INVALID_FIELD,
            f"The Idempotency-Key header must have 1 to {MAX_IDEMPOTENCY_KEY_CHARS} printable ASCII characters. "
            "Send other keys in the body.",
            field="Idempotency-Key",
        )
    if is_placeholder_key(value):
        return None, [placeholder_warning(value, " in the header")]
    return value, []


def _none_valid(intake: Intake) -> ApiError:
    first = intake.rejected[0]
    others = len(intake.rejected) - 1
    more = f" (and {others} more: no event of the batch is valid)" if others else ""
    # 413 would speak of the whole body; a batch without a valid event is 400, whatever is wrong with its events.
    code = first.error.code if first.error.code.status == 400 else ErrorCode.INVALID_FIELD
    return ApiError(code, first.error.message + more, field=first.error.field, index=first.index)


def _unavailable(error: LogUnavailableError) -> ApiError:
    return ApiError(
        ErrorCode.LOG_UNAVAILABLE,
        f"The events cannot be kept now: {error}. Send them again with the same idempotency keys.",
        retry_after_s=_RETRY_AFTER_S,
    )
