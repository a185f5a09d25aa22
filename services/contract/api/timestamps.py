"""Times as clients write them: the forms that both edge and query service take."""

import re
from datetime import datetime

# Numbers from here on are milliseconds: as seconds they would be past the year 5000.
MILLISECONDS_FROM = 100_000_000_000

# datetime.fromisoformat takes more than ISO 8601: any character between date and time, even NUL.
_ISO_8601 = re.compile(
    r"\d{4}-?(?:\d\d-?\d\d|W\d\d(?:-?\d)?)"
    r"(?:[T ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d+)?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)


def iso_time(text: str) -> datetime:
    """Naive where the text has no offset. Raises ValueError."""
    text = text.strip()
    if not _ISO_8601.fullmatch(text):
        raise ValueError("not ISO 8601")
    return datetime.fromisoformat(text.upper())
