"""The closed list of error codes. Clients match on these names: a change here is a change of the contract."""

import msgspec

from services.contract.api.errors import ApiError, ErrorBody, ErrorCode

STATUSES = {
    "invalid_request": 400,
    "invalid_json": 400,
    "invalid_encoding": 400,
    "invalid_field": 400,
    "missing_field": 400,
    "invalid_timestamp": 400,
    "too_deep": 400,
    "batch_too_large": 400,
    "illegal_id": 400,
    "invalid_window": 400,
    "invalid_timezone": 400,
    "invalid_filter": 400,
    "invalid_cursor": 400,
    "query_too_expensive": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "conflict": 409,
    "body_too_large": 413,
    "event_too_large": 413,
    "unsupported_media_type": 415,
    "unsupported_encoding": 415,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "headers_too_large": 431,
    "internal_error": 500,
    "too_many_connections": 503,
    "log_unavailable": 503,
    "store_unavailable": 503,
}

# Each of these has a test in tests/unit/edge/test_routes.py, which checks that it leaves none out.
EDGE_CODES = {
    ErrorCode.INVALID_JSON,
    ErrorCode.INVALID_ENCODING,
    ErrorCode.INVALID_FIELD,
    ErrorCode.MISSING_FIELD,
    ErrorCode.INVALID_TIMESTAMP,
    ErrorCode.TOO_DEEP,
    ErrorCode.BATCH_TOO_LARGE,
    ErrorCode.ILLEGAL_ID,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.FORBIDDEN,
    ErrorCode.NOT_FOUND,
    ErrorCode.METHOD_NOT_ALLOWED,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.EVENT_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.UNSUPPORTED_ENCODING,
    ErrorCode.RATE_LIMITED,
    ErrorCode.QUOTA_EXCEEDED,
    ErrorCode.INTERNAL_ERROR,
    ErrorCode.LOG_UNAVAILABLE,
    ErrorCode.STORE_UNAVAILABLE,
}
# These only the query service gives.
QUERY_CODES = {
    ErrorCode.INVALID_WINDOW,
    ErrorCode.INVALID_TIMEZONE,
    ErrorCode.INVALID_FILTER,
    ErrorCode.INVALID_CURSOR,
    ErrorCode.QUERY_TOO_EXPENSIVE,
    ErrorCode.CONFLICT,
}
# These the HTTP protocol gives, before any service sees a request: tests/slow/runtime/test_http_protocol.py.
PROTOCOL_CODES = {
    ErrorCode.INVALID_REQUEST,
    ErrorCode.REQUEST_TIMEOUT,
    ErrorCode.HEADERS_TOO_LARGE,
    ErrorCode.TOO_MANY_CONNECTIONS,
}


def test_the_list_is_closed() -> None:
    assert {code.code: code.status for code in ErrorCode} == STATUSES


def test_every_code_belongs_to_a_service_that_tests_it() -> None:
    assert set(ErrorCode) == EDGE_CODES | QUERY_CODES | PROTOCOL_CODES
    assert len(ErrorCode) == len(EDGE_CODES) + len(QUERY_CODES) + len(PROTOCOL_CODES)


def test_an_error_is_written_in_the_one_shape() -> None:
    bare = ApiError(ErrorCode.INVALID_JSON, "Mend it.")
    assert msgspec.to_builtins(ErrorBody(bare.detail(), "r1")) == {
        "error": {"code": "invalid_json", "message": "Mend it."},
        "request_id": "r1",
    }
    full = ApiError(ErrorCode.INVALID_FIELD, "Mend it.", field="event", index=0)
    assert msgspec.to_builtins(full.detail()) == {
        "code": "invalid_field",
        "message": "Mend it.",
        "field": "event",
        "index": 0,
    }
