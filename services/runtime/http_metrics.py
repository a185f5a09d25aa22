"""What all HTTP services count."""

from prometheus_client import Counter

HTTP_ERRORS = Counter("headrace_http_errors_total", "Error answers by code.", ["service", "code"])
