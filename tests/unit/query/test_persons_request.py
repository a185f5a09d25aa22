"""What a deletion may ask for, and what is refused with the field that is at fault."""

import json
from typing import Any

import pytest

from services.contract.api.errors import ApiError, ErrorCode
from services.query.persons.request import parse_privacy_delete

WINDOW = {"since": "2024-01-01", "until": "2024-02-01"}


def test_a_person_or_a_window() -> None:
    person, warnings = parse_privacy_delete(b'{"distinct_id": "a", "idempotency_key": "k", "x": 1}')
    assert (person.distinct_id, person.window, person.idempotency_key) == ("a", None, "k")
    assert warnings == ["unknown field `x` ignored"]
    window, warnings = parse_privacy_delete(json.dumps({**WINDOW, "timezone": "Asia/Tokyo"}).encode())
    assert window.distinct_id is None
    assert window.window is not None
    assert window.window.since_us == 1_704_034_800_000_000
    assert warnings == []


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, ErrorCode.MISSING_FIELD, "distinct_id"),
        ({"since": 0}, ErrorCode.MISSING_FIELD, "until"),
        ({"until": 1}, ErrorCode.MISSING_FIELD, "since"),
        ({"distinct_id": "a", **WINDOW}, ErrorCode.INVALID_FIELD, "since"),
        ({"distinct_id": "a", "timezone": "UTC"}, ErrorCode.INVALID_FIELD, "timezone"),
        ({"distinct_id": ""}, ErrorCode.INVALID_FIELD, "distinct_id"),
        ({"distinct_id": "a\0"}, ErrorCode.INVALID_FIELD, "distinct_id"),
        ({"distinct_id": "x" * 513}, ErrorCode.INVALID_FIELD, "distinct_id"),
        ({**WINDOW, "until": "2023-01-01"}, ErrorCode.INVALID_WINDOW, "until"),
        ({**WINDOW, "timezone": "Mars"}, ErrorCode.INVALID_TIMEZONE, "timezone"),
        ({**WINDOW, "idempotency_key": ""}, ErrorCode.INVALID_FIELD, "idempotency_key"),
    ],
)
def test_refused(body: dict[str, Any], code: ErrorCode, field: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_privacy_delete(json.dumps(body).encode())
    assert (caught.value.code, caught.value.field) == (code, field)
