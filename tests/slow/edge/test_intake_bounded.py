"""Bodies that are small to send and much to read: work is bounded before it is done."""

import time
from contextlib import suppress

import pytest

from services.contract.api.errors import ApiError
from services.edge.intake.second_pass import take_batch
from tests.unit.edge.test_intake_faults import NOW

SMALLEST = b'{"event":"a","distinct_id":"b"}'


EXPENSIVE = {
    "a million zeros as events": b'{"events":[' + b"0," * 1_000_000 + b"0]}",
    "a million smallest events": b'{"events":[' + (SMALLEST + b",") * 300_000 + SMALLEST + b"]}",
    "a million unknown names": b"{" + b",".join([b'"%d":0' % i for i in range(1_000_000)]) + b"}",
    "a million zeros beside": b'{"zz":[' + b"0," * 1_000_000 + b'0],"events":[]}',
    "brackets": b'{"events":[' + b"[" * 5_000_000 + b"]" * 5_000_000 + b"]}",
    "quotes": b'{"events":[' + b'"",' * 3_000_000 + b"0]}",
}


@pytest.mark.parametrize("body", EXPENSIVE.values(), ids=list(EXPENSIVE))
def test_work_is_bounded_before_it_is_done(body: bytes) -> None:
    started = time.process_time()
    with suppress(ApiError):
        assert len(take_batch(body, "shop", NOW).rejected) <= 1000
    assert time.process_time() - started < 1
