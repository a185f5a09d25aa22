"""A partition's log and its edges, as far as losses go: records, the broker's clock, cuts."""

from itertools import count

from services.edge.event_log.lost_end import LostEnd, Mark

_numbers = count()


class NotedEnd(LostEnd):
    """Notes what it tells of."""

    def __init__(self) -> None:
        super().__init__(f"t{next(_numbers)}", 0)
        self.told: list[range] = []

    def _tell(self, begin: int, end: int) -> None:
        super()._tell(begin, end)
        self.told.append(range(begin, end))


class Log:
    """A partition: whose record each offset is, and when it was written."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int]] = []
        self.now_ms = 1_000_000

    def append(self, number: int, edge: LostEnd, after_ms: int, *, stamps: bool = True) -> None:
        self.now_ms += after_ms
        before = edge.sending()
        self.records.append((number, self.now_ms))
        edge.acknowledged(len(self.records) - 1, before, self.now_ms if stamps else None)

    def cut(self, records: int, away_ms: int) -> None:
        del self.records[max(0, len(self.records) - records) :]
        self.now_ms += away_ms

    def look(self, edge: LostEnd) -> None:
        later = {mark: self._first_later(mark) for mark in edge.doubtful()}
        suspects = edge.suspects(later, len(self.records))
        edge.look({mark: begin for mark, begin in suspects.items() if not self._has(mark)}, list(later))

    def _first_later(self, mark: Mark) -> Mark | None:
        found = (Mark(i, at) for i, (_, at) in enumerate(self.records) if at > mark.at_ms)
        return next(found, None)

    def _has(self, mark: Mark) -> bool:
        return mark.offset < len(self.records) and self.records[mark.offset][1] == mark.at_ms
