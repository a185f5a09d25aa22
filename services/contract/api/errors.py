"""The closed list of error codes and the one shape that every error answer has."""

from enum import Enum

import msgspec


class ErrorCode(Enum):
    """Each code has one HTTP status. The names are what clients match on; they never change their meaning."""

    INVALID_REQUEST = ("invalid_request", 400)
    INVALID_JSON = ("invalid_json", 400)
    INVALID_ENCODING = ("invalid_encoding", 400)
    INVALID_FIELD = ("invalid_field", 400)
    MISSING_FIELD = ("missing_field", 400)
    INVALID_TIMESTAMP = ("invalid_timestamp", 400)
    TOO_DEEP = ("too_deep", 400)
    BATCH_TOO_LARGE = ("batch_too_large", 400)
    ILLEGAL_ID = ("illegal_id", 400)
    INVALID_WINDOW = ("invalid_window", 400)
    INVALID_TIMEZONE = ("invalid_timezone", 400)
    INVALID_FILTER = ("invalid_filter", 400)
    INVALID_CURSOR = ("invalid_cursor", 400)
    QUERY_TOO_EXPENSIVE = ("query_too_expensive", 400)
    UNAUTHORIZED = ("unauthorized", 401)
    FORBIDDEN = ("forbidden", 403)
    NOT_FOUND = ("not_found", 404)
    METHOD_NOT_ALLOWED = ("method_not_allowed", 405)
    REQUEST_TIMEOUT = ("request_timeout", 408)
    BODY_TOO_LARGE = ("body_too_large", 413)
    EVENT_TOO_LARGE = ("event_too_large", 413)
    UNSUPPORTED_MEDIA_TYPE = ("unsupported_media_type", 415)
    UNSUPPORTED_ENCODING = ("unsupported_encoding", 415)
    RATE_LIMITED = ("rate_limited", 429)
    HEADERS_TOO_LARGE = ("headers_too_large", 431)
    INTERNAL_ERROR = ("internal_error", 500)
    TOO_MANY_CONNECTIONS = ("too_many_connections", 503)
    LOG_UNAVAILABLE = ("log_unavailable", 503)
    STORE_UNAVAILABLE = ("store_unavailable", 503)

    def __init__(self, code: str, status: int) -> None:
        self.code = code
        self.status = status


class ApiError(Exception):
    """A request that cannot be answered as asked.

    `field` is the path of the offending field (`events[3].timestamp`), `index` the position in a batch,
    `retry_after_s` becomes the Retry-After header (whole seconds).
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        field: str | None = None,
        index: int | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.index = index
        self.retry_after_s = retry_after_s

    def within(self, place: str) -> "ApiError":
        """The same error, of a value inside another one."""
        field = f"{place}.{self.field}" if self.field else place
        return ApiError(self.code, f"{place}: {self.message}", field=field)

    def detail(self) -> "ErrorDetail":
        return ErrorDetail(
            code=self.code.code,
            message=self.message,
            field=msgspec.UNSET if self.field is None else self.field,
            index=msgspec.UNSET if self.index is None else self.index,
        )


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, where, and what to change."""

    code: str
    message: str
    field: str | msgspec.UnsetType = msgspec.UNSET
    index: int | msgspec.UnsetType = msgspec.UNSET


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer with a status of 400 or above."""

    error: ErrorDetail
    request_id: str
