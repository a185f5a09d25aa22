"""What the services' alarms name as lost, so that the comparison can subtract exactly that."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec


@dataclass(frozen=True)
class Named:
    """Offsets of a partition from `begin`, below `end`, that a service has named as lost."""

    service: str
    topic: str
    partition: int
    begin: int
    end: int


class Alarms:
    """What is named from now on."""

    def __init__(self, logs: Iterable[Path]) -> None:
        self._read = {path: path.stat().st_size if path.exists() else 0 for path in logs}

    def losses(self) -> list[Named]:
        """All that was named so far."""
        found = []
        for path, begin in self._read.items():
            for line in path.read_bytes()[begin:].splitlines() if path.exists() else ():
                if b'"records_lost"' in line:
                    said = msgspec.json.decode(line)
                    found.append(Named(path.stem, said["topic"], said["partition"], said["begin"], said["end"]))
        return found
