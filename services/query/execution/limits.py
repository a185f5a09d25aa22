"""The limits of one query in ClickHouse, and of one project's queries."""

from msgspec import Struct

from services.runtime.settings import QuerySettings


class Limits(Struct, frozen=True):
    """Of one query in the store, and of one project's queries."""

    execution_s: float
    memory_bytes: int
    rows: int
    concurrency: int
    queue: int

    @classmethod
    def of(cls, settings: QuerySettings) -> "Limits":
        return cls(
            settings.query_max_execution_s,
            settings.query_max_memory_bytes,
            settings.query_max_rows,
            settings.query_concurrency_per_project,
            settings.query_queue_per_project,
        )
