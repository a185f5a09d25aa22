"""The limits of one query in ClickHouse, of one project's queries, and of all."""

from msgspec import Struct

from services.runtime.settings import QuerySettings

# What a query has to do with when another one has the large share. Most need less.
SMALL_SHARE_BYTES = 256 * 1024**2
# Of the results of all statements that run at once, as ClickHouse holds them; in Python they take a few times as much.
_RESULTS_BYTES = 128 * 1024**2
# A page has 8 MiB.
_LEAST_RESULT_BYTES, _LARGEST_RESULT_BYTES = 10 * 1024**2, 32 * 1024**2


class Limits(Struct, frozen=True):
    """`memory_bytes` is the large share; of it there are `large_shares` in all, and one a project. Whatever else runs has
    a small share: so all queries together are bounded, whatever each of them asks for."""

    execution_s: float
    memory_bytes: int
    rows: int
    concurrency: int
    queue: int
    concurrency_in_all: int = 8
    small_memory_bytes: int = SMALL_SHARE_BYTES
    large_shares: int = 1

    @property
    def result_bytes(self) -> int:
        """Of one statement: the process must hold those of all projects at once."""
        share = _RESULTS_BYTES // self.concurrency_in_all
        return min(max(share, _LEAST_RESULT_BYTES), _LARGEST_RESULT_BYTES)

    @classmethod
    def of(cls, settings: QuerySettings) -> "Limits":
        large = settings.query_max_memory_bytes
        in_all = settings.query_max_memory_in_all_bytes or 2 * large
        running = settings.query_concurrency
        small = min(SMALL_SHARE_BYTES, (in_all - large) // running)
        return cls(
            settings.query_max_execution_s,
            large,
            settings.query_max_rows,
            settings.query_concurrency_per_project,
            settings.query_queue_per_project,
            running,
            small,
            max(1, (in_all - running * small) // large),
        )
