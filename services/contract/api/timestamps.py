"""Times as clients write them: the forms that both edge and query service take. What is finer than a microsecond is cut,
never rounded: a nanosecond before midnight belongs to the day before."""

import re
from datetime import datetime, timedelta

FORMS = "ISO 8601 (2026-11-20T12:34:56Z) or Unix epoch in seconds, milliseconds, microseconds or nanoseconds"

# datetime.fromisoformat takes more than ISO 8601: any character between date and time, even NUL, and offsets of `+00:99`.
_ISO_8601 = re.compile(
    r"(?P<date>\d{4}-?(?:\d\d-?\d\d|W\d\d(?:-?\d)?))"
    r"(?:[T ](?P<hour>\d\d)(?P<rest>(?::?\d\d(?::?(?P<second>\d\d)(?:[.,]\d+)?)?)?)"
    r"(?P<offset>Z|[+-]\d\d(?::?[0-5]\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?", re.ASCII)
# Below these a number is seconds, milliseconds, microseconds; from the last on nanoseconds. As seconds, 1e11 would be
# past the year 5000; each unit reaches as far back as 1973.
_MILLISECONDS_FROM, _MICROSECONDS_FROM, _NANOSECONDS_FROM = 10**11, 10**14, 10**17
_DIGITS = 40  # of whole numbers that are told apart; a time has 19


def iso_time(text: str) -> datetime:
    """Naive where the text has no offset. Raises ValueError.

    A leap second (`:60`) is the last microsecond of its minute, `T24:00` the next midnight.
    """
    text = text.strip().upper()
    found = _ISO_8601.fullmatch(text)
    if not found:
        raise ValueError("not ISO 8601")
    if found["second"] == "60":
        at = found.start("second")
        text = f"{text[:at]}59.999999{found['offset'] or ''}"
    elif found["hour"] == "24":
        if found["rest"].translate(_ZEROS):
            raise ValueError("24 is the hour of midnight alone")
        midnight = datetime.fromisoformat(f"{found['date']}T00:00{found['offset'] or ''}")
        try:
            return midnight + timedelta(days=1)
        except OverflowError as error:
            raise ValueError("after the year 9999") from error
    return datetime.fromisoformat(text)


_ZEROS = str.maketrans("", "", "0:.,")


def epoch_us(number: str) -> int:
    """Microseconds since 1970 of a JSON number's text, in the unit that its size says. Raises ValueError.

    Of numbers that are no time in any calendar only the order is kept: they are larger than any other.
    """
    found = _NUMBER.fullmatch(number)
    if not found:
        raise ValueError("not a number")
    sign, whole, fraction, exponent = found.groups(default="")
    whole, fraction = _shift(whole, fraction, exponent)
    value = int(whole)
    if value < _MILLISECONDS_FROM:
        us = value * 1_000_000 + int(fraction[:6].ljust(6, "0"))
    elif value < _MICROSECONDS_FROM:
        us = value * 1_000 + int(fraction[:3].ljust(3, "0"))
    else:
        us = value if value < _NANOSECONDS_FROM else value // 1_000
    return -us if sign else us


def _shift(whole: str, fraction: str, exponent: str) -> tuple[str, str]:
    """The digits before and behind the point, once the exponent is spent. The digits of huge numbers are bounded."""
    digits = (whole + fraction).lstrip("0")
    point = len(whole) - len(whole + fraction) + len(digits)  # where it stands among the digits
    if exponent and digits:
        # More digits than an exponent can have in text of that size: far beyond any time, in both directions.
        point += int(exponent) if len(exponent) < 10 else (-(10**9) if exponent[0] == "-" else 10**9)
    if point <= 0:
        return "0", "0" * min(-point, _DIGITS) + digits[:_DIGITS]
    if point > _DIGITS:
        return "9" * _DIGITS, ""
    return digits[:point].ljust(point, "0"), digits[point : point + _DIGITS]


def microseconds(time: datetime) -> int:
    """Of an aware time, since 1970. Also for the first and last hours that a datetime can hold."""
    offset = time.utcoffset() or timedelta(0)
    return (time.replace(tzinfo=None) - datetime(1970, 1, 1) - offset) // timedelta(microseconds=1)
