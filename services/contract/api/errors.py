"""The closed list of error codes and the one shape that every error answer has."""

from enum import Enum

import msgspec


class ErrorCode(Enum):
    """Each code has one HTTP status and one line that says what it means, for the reference.

    The names are what clients match on; they never change their meaning.
    """

    INVALID_REQUEST = (
        "invalid_request",
        400,
        "The request is not what HTTP/1.1 allows: see its first line, headers and length.",
    )
    INVALID_JSON = ("invalid_json", 400, "The body is not valid JSON in UTF-8.")
    INVALID_ENCODING = ("invalid_encoding", 400, "The body does not decompress as its Content-Encoding says.")
    INVALID_FIELD = ("invalid_field", 400, "A field has a wrong type, size or value; `field` names it.")
    MISSING_FIELD = ("missing_field", 400, "A required field is missing; `field` names it.")
    INVALID_TIMESTAMP = ("invalid_timestamp", 400, "A time is neither ISO 8601 nor a Unix epoch, or too early.")
    TOO_DEEP = ("too_deep", 400, "The JSON is nested too deeply. Flatten it.")
    BATCH_TOO_LARGE = ("batch_too_large", 400, "Too many events in a batch. Nothing was taken: split it.")
    ILLEGAL_ID = ("illegal_id", 400, "A side of a merge is a placeholder such as `null`, which would join strangers.")
    INVALID_WINDOW = ("invalid_window", 400, "`since` is not before `until`, or no event can lie in the time window.")
    INVALID_TIMEZONE = ("invalid_timezone", 400, "`timezone` is not an IANA name.")
    INVALID_FILTER = ("invalid_filter", 400, "A filter has an unknown operator, a wrong operand, or is too large.")
    INVALID_CURSOR = ("invalid_cursor", 400, "The cursor belongs to another query, or was changed.")
    QUERY_TOO_EXPENSIVE = ("query_too_expensive", 400, "The query reached a limit (time, memory, rows). Ask for less.")
    UNAUTHORIZED = ("unauthorized", 401, "There is no project key, or it is unknown or revoked.")
    FORBIDDEN = ("forbidden", 403, "The project key does not have the scope that the call needs.")
    NOT_FOUND = ("not_found", 404, "There is no such address, or nothing of that id or name.")
    METHOD_NOT_ALLOWED = ("method_not_allowed", 405, "The address does not take this method.")
    REQUEST_TIMEOUT = ("request_timeout", 408, "The request did not arrive in time. Send it again, in one go.")
    CONFLICT = ("conflict", 409, "What is to be changed was changed by somebody else since. Read it and try again.")
    BODY_TOO_LARGE = ("body_too_large", 413, "The body, decompressed, is too large. Send it in parts.")
    EVENT_TOO_LARGE = ("event_too_large", 413, "One event is too large. Shorten its properties.")
    UNSUPPORTED_MEDIA_TYPE = ("unsupported_media_type", 415, "This Content-Type is not taken: send application/json.")
    UNSUPPORTED_ENCODING = ("unsupported_encoding", 415, "This Content-Encoding is not taken.")
    RATE_LIMITED = ("rate_limited", 429, "Too many events or queries of this project. Send again after Retry-After.")
    QUOTA_EXCEEDED = (
        "quota_exceeded",
        429,
        "The project has sent the events that it may send on a day (UTC). Send again after Retry-After.",
    )
    HEADERS_TOO_LARGE = ("headers_too_large", 431, "The headers are too large or too many. Send fewer.")
    INTERNAL_ERROR = ("internal_error", 500, "A fault of the server. Report the request_id.")
    TOO_MANY_CONNECTIONS = ("too_many_connections", 503, "Too many connections at once. Retry later.")
    LOG_UNAVAILABLE = ("log_unavailable", 503, "The event log is away. Send again, with the same idempotency keys.")
    STORE_UNAVAILABLE = ("store_unavailable", 503, "ClickHouse does not answer. Send again after Retry-After.")

    def __init__(self, code: str, status: int, meaning: str) -> None:
        self.code = code
        self.status = status
        self.meaning = meaning


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
