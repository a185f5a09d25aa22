"""Notices when a partition's log has lost records that this edge was told are kept. Pure but for metric and log."""

from services.edge.loop_metrics import LoopCounter
from services.runtime.logs import get_logger

log = get_logger(__name__)
LOST = LoopCounter(
    "headrace_edge_lost_records",
    "Kafka records that were acknowledged and whose offsets were given again. The log names their offsets.",
    ["topic", "partition"],
)


class LostEnd:
    """Offsets only ever grow, unless the log was cut: power of a broker, an unclean election, a restored backup.

    Records that are under way together may be acknowledged in any order. So an offset is compared with those that had
    been acknowledged when its record was sent.
    """

    __slots__ = ("_last", "_losses", "_partition", "_topic")

    def __init__(self, topic: str, partition: int) -> None:
        self._topic = topic
        self._partition = partition
        self._last = -1
        self._losses = 0
        LOST.labels(topic, str(partition))  # at 0: a first loss is an increase

    def sending(self) -> tuple[int, int]:
        """What to hand to `acknowledged`: how many losses were seen, and the last offset."""
        return self._losses, self._last

    def acknowledged(self, offset: int, before: tuple[int, int]) -> None:
        """The offset of a record that Kafka has taken; below 0 where it does not say."""
        losses, last = before
        if losses == self._losses and 0 <= offset <= last:
            self._tell(offset, self._last + 1)
            self._losses += 1
            self._last = offset
        self._last = max(self._last, offset)

    def _tell(self, begin: int, end: int) -> None:
        LOST.labels(self._topic, str(self._partition)).inc(end - begin)
        log.critical(
            "records_lost",
            topic=self._topic,
            partition=self._partition,
            begin=begin,
            end=end,
            reason="the log has lost its end; workers may have stored some of these before",
        )
