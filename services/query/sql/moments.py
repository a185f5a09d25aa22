"""The order of a person's events: by time, of equal times by receipt, then by event id. As one number an event.

Sorting such numbers and taking away duplicates is four times as fast as with tuples. From the highest bits: the time since
the time window's begin, the time of receipt, the first bits of the event id, and a payload (the event's name, the steps
that it can be). Events are received no earlier than an hour before their time, so that both times need few bits.
"""

from msgspec import Struct

from services.query.request.time_window import DAY_US, SECOND_US, TimeWindow

# The place of a row `e` in that order.
MOMENT = "(e.timestamp, e.received_at, toUInt128(e.event_id))"
# ClickHouse's integers.
_BITS = {"UInt128": 128, "UInt256": 256}
# With fewer bits of the id, two events of one person, name, time and receipt would be taken for one too often. Only
# requests from before receipts told events apart have such.
_MIN_ID_BITS = 16
_MAX_ID_BITS = 64
_EARLIEST_RECEIPT_US = 946_684_800 * SECOND_US  # 2000


class Moments(Struct, frozen=True):
    """How events of a time window become numbers. `received_us`: no event of it was received before."""

    kind: str
    received_us: int
    received_bits: int
    id_bits: int
    payload_bits: int

    @property
    def _time_shift(self) -> int:
        return self.received_bits + self.id_bits + self.payload_bits

    def number(self, payload: str) -> str:
        """SQL of an event `e`; needs {since:Int64} and `parameters`. Of a later event it is larger."""
        received = (
            "greatest(least(toUnixTimestamp64Micro(e.received_at) - {received:Int64}, "
            f"{2**self.received_bits - 1:d}), 0)"
        )
        return (
            f"bitShiftLeft(to{self.kind}(toUnixTimestamp64Micro(e.timestamp) - {{since:Int64}}), {self._time_shift:d})"
            f" + bitShiftLeft(to{self.kind}({received}), {self.id_bits + self.payload_bits:d})"
            f" + bitShiftLeft(to{self.kind}(bitShiftRight(toUInt128(e.event_id), {128 - self.id_bits:d})), "
            f"{self.payload_bits:d}) + {payload}"
        )

    @property
    def parameters(self) -> dict[str, int]:
        return {"received": self.received_us}

    def time(self, number: str) -> str:
        """SQL: microseconds since the time window's begin."""
        return f"toInt64(bitShiftRight({number}, {self._time_shift:d}))"

    def payload(self, number: str) -> str:
        if self.payload_bits == 8:
            return f"toUInt8({number})"
        return f"bitAnd(toUInt32({number}), {2**self.payload_bits - 1:d})"


def moments(window: TimeWindow, payload_bits: int, now_us: int) -> Moments:
    """`payload_bits`: at most 32. Numbers have 128 bits, of a time window of several years 256, which take longer."""
    received_us = max(window.since_us - 3600 * SECOND_US, _EARLIEST_RECEIPT_US)
    received_bits = max(now_us + DAY_US - received_us, 1).bit_length()
    used = (window.until_us - window.since_us).bit_length() + received_bits + payload_bits
    kind = next(kind for kind, bits in _BITS.items() if bits - used >= _MIN_ID_BITS)
    return Moments(kind, received_us, received_bits, min(_BITS[kind] - used, _MAX_ID_BITS), payload_bits)
