"""What an operator has set for single projects: events a day, and for how long events are kept."""

import time
from collections.abc import Mapping

from msgspec import Struct

from services.contract.tables import PROJECT_LIMITS
from services.runtime.clickhouse import ClickHouse


class ProjectLimits(Struct, frozen=True):
    """None: the services' own setting counts; 0: no limit."""

    events_day: int | None = None
    retention_days: int | None = None


async def read_limits(store: ClickHouse) -> dict[str, ProjectLimits]:
    """Of the projects that have some. Raises StoreError."""
    rows = await store.rows(f"SELECT project_id, events_day, retention_days FROM {PROJECT_LIMITS} FINAL")
    return {project: ProjectLimits(events, days) for project, events, days in rows}


async def write_limits(store: ClickHouse, project_id: str, limits: ProjectLimits) -> None:
    """Raises StoreError."""
    await store.command(
        f"INSERT INTO {PROJECT_LIMITS} (project_id, events_day, retention_days, version) SELECT {{project:String}}, "
        "{events:Nullable(UInt64)}, {days:Nullable(UInt32)}, greatest({version:UInt64}, "
        f"(SELECT max(version) + 1 FROM {PROJECT_LIMITS} WHERE project_id = {{project:String}}))",
        {
            "project": project_id,
            "events": limits.events_day,
            "days": limits.retention_days,
            "version": time.time_ns(),
        },
    )


def events_day_of(limits: Mapping[str, ProjectLimits], project_id: str, default: int) -> int:
    own = limits.get(project_id, ProjectLimits()).events_day
    return default if own is None else own


def retention_days_of(limits: Mapping[str, ProjectLimits], project_id: str, default: int) -> int:
    own = limits.get(project_id, ProjectLimits()).retention_days
    return default if own is None else own
