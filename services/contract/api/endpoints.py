"""All HTTP calls as data: what the OpenAPI document and the acceptance tests go through."""

from typing import Any

from msgspec import Struct

from services.contract.api.errors import ErrorCode
from services.contract.api.ingest import Accepted, Alias, AliasResult, Batch, Done, Group, Identify, TrackEvent

BASE_PATH = "/v1/analytics"


class Call(Struct, frozen=True, kw_only=True):
    """One call. `path` is below BASE_PATH; `parameters` are OpenAPI parameter objects. `example`: a body.

    `csv`: `Accept: text/csv` gives the answer as a table. `media`: of the answer.
    """

    name: str
    method: str
    path: str
    summary: str
    request: Any = None
    response: Any
    scope: str
    errors: tuple[ErrorCode, ...]
    parameters: tuple[dict[str, Any], ...] = ()
    example: Any = None
    csv: bool = False
    media: str = "application/json"


# What every call can answer.
ALWAYS = (
    ErrorCode.INVALID_FIELD,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.FORBIDDEN,
    ErrorCode.STORE_UNAVAILABLE,
)
_BODY = (
    ErrorCode.INVALID_JSON,
    ErrorCode.MISSING_FIELD,
    ErrorCode.TOO_DEEP,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
)
_INGEST = (
    *ALWAYS,
    *_BODY,
    ErrorCode.INVALID_ENCODING,
    ErrorCode.UNSUPPORTED_ENCODING,
    ErrorCode.EVENT_TOO_LARGE,
    ErrorCode.RATE_LIMITED,
    ErrorCode.LOG_UNAVAILABLE,
)
_EVENTS = (*_INGEST, ErrorCode.INVALID_TIMESTAMP, ErrorCode.BATCH_TOO_LARGE, ErrorCode.QUOTA_EXCEEDED)
_KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Stands for a missing `idempotency_key`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[ -~]+$"},
}

INGEST_CALLS = (
    Call(
        name="track",
        method="POST",
        path="/track",
        summary="Ingest one event, or an array of up to 1000.",
        request=TrackEvent | list[TrackEvent],
        response=Accepted,
        scope="ingest",
        errors=_EVENTS,
        parameters=(_KEY_HEADER,),
    ),
    Call(
        name="batch",
        method="POST",
        path="/batch",
        summary="Ingest up to 1000 events; each is idempotent by its own key.",
        request=Batch,
        response=Accepted,
        scope="ingest",
        errors=_EVENTS,
    ),
    Call(
        name="identify",
        method="POST",
        path="/identify",
        summary="Set traits of a distinct id, optionally merging a prior id by alias_for.",
        request=Identify,
        response=Done,
        scope="ingest",
        errors=(*_INGEST, ErrorCode.INVALID_TIMESTAMP, ErrorCode.ILLEGAL_ID),
        parameters=(_KEY_HEADER,),
    ),
    Call(
        name="alias",
        method="POST",
        path="/alias",
        summary="Merge an id into the person of another.",
        request=Alias,
        response=AliasResult,
        scope="ingest",
        errors=(*_INGEST, ErrorCode.ILLEGAL_ID),
        parameters=(_KEY_HEADER,),
    ),
    Call(
        name="group",
        method="POST",
        path="/group",
        summary="Put a distinct id into a group.",
        request=Group,
        response=Done,
        scope="ingest",
        errors=_INGEST,
        parameters=(_KEY_HEADER,),
    ),
)
