"""The edge's calls: HTTP only. What a body means is intake's; that it is kept is the event log's."""

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from services.contract.api.endpoints import BASE_PATH
from services.contract.api.errors import ApiError, ErrorCode
from services.contract.api.ingest import Accepted, AliasResult, Done, RejectedEvent
from services.contract.placeholders import placeholder_warning
from services.edge.event_log.port import EventLog, LogUnavailableError
from services.edge.http.body import Bodies, Body
from services.edge.http.direct import Endpoint
from services.edge.http.quotas import Quotas
from services.edge.http.rate_limit import RateLimit
from services.edge.http.refused import LABELS, is_of
from services.edge.intake.identity import IdentityIntake, take_alias, take_group, take_identify
from services.edge.intake.receive_clock import ReceiveClock
from services.edge.intake.second_pass import batch_by_event, track_by_event
from services.edge.intake.track import Intake, Rejected, take_clean_batch, take_clean_track
from services.edge.loop_metrics import LoopCounter
from services.runtime.clock import Clock
from services.runtime.http import authorization_of, header, json_response
from services.runtime.idempotency_header import usable_header
from services.runtime.keys import Key, KeyCache, Scope

_RETRY_AFTER_S = 2
# A second pass over a larger body, and an identity message of more, is worked on in the thread of large ones: a second
# pass takes up to a microsecond a byte.
_SECOND_PASS_BYTES = 16 * 1024
EVENTS = LoopCounter("headrace_edge_events", "Events by what became of them.", ["call", "result"])
REJECTED = LoopCounter(
    "headrace_edge_rejected_events", "Events that were refused and became dead letters, by error code.", ["code"]
)
REFUSED = LoopCounter(
    "headrace_edge_project_refused",
    "Events that were refused and became dead letters, by project and error code.",
    ["project", "code"],
)
# Most answers to single events; a response may be sent any number of times.
_ONE_ACCEPTED = json_response(Accepted(ok=True, accepted=1))
_NAMES = ("track", "batch", "identify", "alias", "group")
_ACCEPTED = {name: EVENTS.labels(name, "accepted") for name in _NAMES}
_FAULTS_OF_EVENTS = (
    ErrorCode.INVALID_JSON,
    ErrorCode.INVALID_FIELD,
    ErrorCode.MISSING_FIELD,
    ErrorCode.INVALID_TIMESTAMP,
    ErrorCode.TOO_DEEP,
    ErrorCode.ILLEGAL_ID,
    ErrorCode.EVENT_TOO_LARGE,
    ErrorCode.QUOTA_EXCEEDED,
)


class EdgeRoutes:
    """The five ingest calls over an event log."""

    def __init__(
        self,
        log: EventLog,
        keys: KeyCache,
        clock: Clock,
        rate_limit: RateLimit,
        bodies: Bodies,
        quotas: Quotas,
    ) -> None:
        self._log = log
        self._keys = keys
        self.clock = self._clock = ReceiveClock(clock)
        self._rate_limit = rate_limit
        self._bodies = bodies
        self._quotas = quotas
        self._usage = quotas.usage
        count_from_zero()

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
            size = len(body.data)
            now = self._clock.now()
            intake = None if body.is_large else take_clean_track(body.data, key.project_id, now, header_key)
            if intake is not None:
                self._clock.passed(now, len(intake.lines))
            else:
                intake = await self._take_slowly(
                    body,
                    lambda data: take_clean_track(data, key.project_id, now, header_key),
                    lambda data: track_by_event(data, key.project_id, now, header_key),
                )
        intake.warnings += warnings
        return await self._keep("track", intake, key.project_id, now, size)

    async def batch(self, request: Request) -> Response:
        key = await self._authorize(request)
        header_key, warnings = _idempotency_header(request)
        with await self._bodies.read(request, key.project_id) as body:
            size = len(body.data)
            now = self._clock.now()
            intake = None if body.is_large else take_clean_batch(body.data, key.project_id, now, header_key)
            if intake is not None:
                self._clock.passed(now, len(intake.lines))
            else:
                intake = await self._take_slowly(
                    body,
                    lambda data: take_clean_batch(data, key.project_id, now, header_key),
                    lambda data: batch_by_event(data, key.project_id, now, header_key),
                )
        intake.warnings += warnings
        return await self._keep("batch", intake, key.project_id, now, size)

    async def _take_slowly(
        self, body: Body, clean: Callable[[bytes], Intake | None], by_event: Callable[[bytes], Intake]
    ) -> Intake:
        """What is large, or has a fault. What comes from the thread is received when it is done: others were received
        meanwhile."""
        if body.is_large:
            intake = await body.in_thread(lambda data: clean(data) or by_event(data))
        else:
            is_long = len(body.data) > _SECOND_PASS_BYTES
            intake = await body.in_thread(by_event) if is_long else by_event(body.data)
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

    async def _keep(self, call: str, intake: Intake, project_id: str, now: datetime, size: int) -> Response:
        """Log what was taken and what was rejected, then answer."""
        accepted, rejected = len(intake.lines), len(intake.rejected)
        if accepted:
            self._quotas.check(project_id)
        self._rate_limit.take(project_id, accepted + rejected)
        try:
            # The rejected first: should the log fail in between, a retry doubles dead letters, not events without keys.
            if rejected:
                await self._log.append_dead_letters([r.dead_letter(project_id, now) for r in intake.rejected])
            if accepted:
                await self._log.append_events(*intake.hand_over())
        except LogUnavailableError as error:
            raise unavailable(error) from error
        _ACCEPTED[call].inc(accepted)
        self._usage.add(project_id, accepted, size)
        if rejected == 0:
            if accepted == 1 and not intake.warnings:
                return _ONE_ACCEPTED
            return json_response(Accepted(ok=True, accepted=accepted, warnings=intake.warnings or UNSET))
        count_rejected(call, intake.rejected, project_id)
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
            self._clock.passed(now, 1)
            if len(body.data) > _SECOND_PASS_BYTES:
                intake = await body.in_thread(lambda data: take(data, key.project_id, now, header_key))
            else:
                intake = take(body.data, key.project_id, now, header_key)
        intake.warnings += warnings
        self._rate_limit.take(key.project_id, 1)
        if intake.lines:
            try:
                await self._log.append_identity(intake.ids, intake.lines)
            except LogUnavailableError as error:
                raise unavailable(error) from error
        _ACCEPTED[call].inc()
        return intake

    async def _authorize(self, request: Request) -> Key:
        given = authorization_of(request)
        key = self._keys.remembered(given, Scope.INGEST)
        if key is None:
            key = await (self._key_in_address(request) if given is None else self._keys.authorize(given, Scope.INGEST))
        is_of(request.scope, key.project_id)
        self._rate_limit.take_request(key.project_id)
        if given is None and key.scopes != {Scope.INGEST}:
            raise ApiError(
                ErrorCode.FORBIDDEN,
                "A key in the address must have the scope `ingest` alone: addresses end up in logs and histories.",
            )
        return key

    async def _key_in_address(self, request: Request) -> Key:
        keys = request.query_params.getlist("key") if request.scope["query_string"] else []
        if len(keys) > 1:
            raise ApiError(
                ErrorCode.UNAUTHORIZED, "Send one `key` in the address: it is not clear which of them counts."
            )
        if not keys:
            return await self._keys.authorize(None, Scope.INGEST)
        return await self._keys.authorize_key(keys[0], Scope.INGEST)


def _idempotency_header(request: Request) -> tuple[str | None, list[str]]:
    """The header's key, and a warning where it is a placeholder, which counts as none. Raises ApiError."""
    given = header(request, b"idempotency-key")
    if given is None:
        return None, []
    key, warnings = usable_header(request)
    return key, warnings if given else [placeholder_warning("", " in the header")]


def _none_valid(intake: Intake) -> ApiError:
    first = intake.rejected[0]
    others = len(intake.rejected) - 1
    more = f" (and {others} more: no event of the batch is valid)" if others else ""
    # 413 would speak of the whole body; a batch without a valid event is 400, whatever is wrong with its events.
    code = first.error.code if first.error.code.status == 400 else ErrorCode.INVALID_FIELD
    return ApiError(code, first.error.message + more, field=first.error.field, index=first.index)


def count_from_zero(calls: Sequence[str] = _NAMES) -> None:
    """A series that is born at its first event has no increase: nobody would see that one."""
    for call in calls:
        for result in ("accepted", "rejected", "put_aside"):
            EVENTS.labels(call, result)
    for code in _FAULTS_OF_EVENTS:
        REJECTED.labels(code.code)


def count_rejected(call: str, rejected: Sequence[Rejected], project_id: str) -> None:
    EVENTS.labels(call, "rejected").inc(len(rejected))
    for each in rejected:
        _count_refused(each.error.code, project_id, 1)


def count_aside(call: str, events: int, project_id: str) -> None:
    """Events that are kept as dead letters because the project's quota is used up."""
    EVENTS.labels(call, "put_aside").inc(events)
    _count_refused(ErrorCode.QUOTA_EXCEEDED, project_id, events)


def _count_refused(code: ErrorCode, project_id: str, events: int) -> None:
    REJECTED.labels(code.code).inc(events)
    REFUSED.labels(LABELS.of(project_id), code.code).inc(events)


def unavailable(error: LogUnavailableError) -> ApiError:
    return ApiError(
        ErrorCode.LOG_UNAVAILABLE,
        f"The events cannot be kept now: {error}. Send them again with the same idempotency keys.",
        retry_after_s=_RETRY_AFTER_S,
    )
