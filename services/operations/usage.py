"""What projects use: accepted events and their bytes by day of receipt, stored events and their people by day of the event."""

from datetime import date

from msgspec import Struct

from services.contract.tables import CATALOG, USAGE
from services.runtime.clickhouse import ClickHouse

_DAYS = "day >= {since:Date} AND day < {until:Date} AND ({project:String} = '' OR project_id = {project:String})"
# As edges have counted: also duplicates, which are dropped later.
_ACCEPTED = f"SELECT project_id, day, sum(events), sum(bytes) FROM {USAGE} FINAL WHERE {_DAYS} GROUP BY project_id, day"
# As the catalog has them. The row without an event is the whole day; people are a sketch's, some 2 % off.
_STORED = (
    f"SELECT project_id, day, events, toUInt64(finalizeAggregation(people)) FROM {CATALOG} FINAL "
    f"WHERE event = '' AND rows > 0 AND {_DAYS}"
)


class DayOfProject(Struct, kw_only=True):
    """A day (UTC) of a project. A day's accepted events may have timestamps of other days."""

    project: str
    day: date
    accepted: int = 0
    bytes: int = 0
    stored: int = 0
    people: int = 0


async def read_usage(store: ClickHouse, project: str, since: date, until: date) -> list[DayOfProject]:
    """By project and day; those without anything are left out. `project`: empty for all. Raises StoreError."""
    asked = {"project": project, "since": since, "until": until}
    days: dict[tuple[str, date], DayOfProject] = {}

    def of(name: str, day: date) -> DayOfProject:
        return days.setdefault((name, day), DayOfProject(project=name, day=day))

    for name, day, events, size in await store.rows(_ACCEPTED, asked):
        of(name, day).accepted, of(name, day).bytes = events, size
    for name, day, events, people in await store.rows(_STORED, asked):
        of(name, day).stored, of(name, day).people = events, people
    return [days[at] for at in sorted(days)]
