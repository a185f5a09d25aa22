"""How events become numbers: enough bits for both times and the id, whatever the time window."""

from datetime import UTC, datetime

import pytest

from services.contract.api.timestamps import microseconds
from services.query.request.time_window import TimeWindow, parse_time_window
from services.query.sql.moments import moments

NOW_US = microseconds(datetime(2026, 11, 20, tzinfo=UTC))


def window(since: str, until: str) -> TimeWindow:
    return parse_time_window(since, until, None)


@pytest.mark.parametrize(
    ("since", "until", "kind", "id_bits"),
    [
        pytest.param("2026-11-01", "2026-12-01", "UInt128", 28, id="this month"),
        pytest.param("2026-01-01", "2027-01-01", "UInt128", 21, id="this year"),
        pytest.param("2024-11-01", "2024-11-02", "UInt128", 28, id="a day two years ago"),
        pytest.param("2023-01-01", "2026-12-01", "UInt128", 17, id="four years"),
        pytest.param("2019-01-01", "2026-12-01", "UInt256", 64, id="eight years"),
        pytest.param("0001-01-01", "9999-01-01", "UInt256", 64, id="ever"),
        pytest.param("2026-11-20T00:00:00Z", "2026-11-20T00:00:01Z", "UInt128", 54, id="a second"),
        pytest.param("2140-01-01", "2140-01-02", "UInt128", 64, id="the future"),
    ],
)
def test_a_number_has_room_for_all(since: str, until: str, kind: str, id_bits: int) -> None:
    found = moments(window(since, until), 17, NOW_US)
    time_bits = (window(since, until).until_us - window(since, until).since_us).bit_length()
    assert (found.kind, found.id_bits) == (kind, id_bits)
    assert time_bits + found.received_bits + found.id_bits + found.payload_bits <= int(kind.removeprefix("UInt"))


def test_receipts_are_counted_from_an_hour_before_the_window() -> None:
    """Events up to an hour ahead of the server are taken with their time."""
    found = moments(window("2026-11-01", "2026-12-01"), 17, NOW_US)
    assert found.parameters["received"] == microseconds(datetime(2026, 10, 31, 23, tzinfo=UTC))
    latest = found.received_us + 2**found.received_bits
    assert latest > NOW_US + 86_400 * 1_000_000


def test_a_payload_of_eight_bits_is_read_as_a_byte() -> None:
    assert moments(window("2026-11-01", "2026-12-01"), 8, NOW_US).payload("x") == "toUInt8(x)"
    assert moments(window("2026-11-01", "2026-12-01"), 17, NOW_US).payload("x") == "bitAnd(toUInt32(x), 131071)"
