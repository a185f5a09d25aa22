"""What all HTTP services count."""

from prometheus_client import Counter

from services.contract.api.errors import ErrorCode

HTTP_ERRORS = Counter("headrace_http_errors_total", "Error answers by code.", ["service", "code"])


def count_errors_from_zero(service: str) -> None:
    """A series that is born at its first error has no increase, and no alarm sees that one."""
    for code in ErrorCode:
        HTTP_ERRORS.labels(service, code.code)
