"""The connections of one process: how many there may be, and how long a client may take over its part.

A client's part is a request that is not whole yet, or an answer that it does not read. Connections with such a part are
looked at once a second; all others cost nothing.
"""

import asyncio
import ipaddress
from collections import Counter
from typing import Protocol

from msgspec import Struct

# A request has to come on within the first, and be whole within the second.
NO_PROGRESS_S = 15.0
WHOLE_REQUEST_S = 60.0
_LOOK_EVERY_S = 1.0
# An IPv6 customer has at least this many leading bits of their own: all addresses behind them are one client.
_IPV6_PREFIX = 64


class ConnectionLimits(Struct, frozen=True):
    """How many connections a process keeps at once, in all and of one client's address. 0: no limit."""

    in_all: int
    of_address: int


NO_LIMITS = ConnectionLimits(0, 0)


class Waiting(Protocol):
    """A connection whose client has a part to do."""

    def is_waiting(self) -> bool:
        """Whether the client still has a part to do."""

    def is_late(self, now: float, since_last_look: float) -> bool:
        """Whether the client took too long. `now` is the loop's time."""

    def give_up(self) -> None:
        """Close it."""


class Connections:
    """Belongs to one event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._count = 0
        self._of_address: Counter[str] = Counter()
        self._waiting: set[Waiting] = set()
        self._look: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """How many there are now."""
        return self._count

    def enter(self, address: str | None) -> bool:
        """Counts a connection; False where it is one too many. Each True is followed by one `leave`."""
        if self.limits.in_all and self._count >= self.limits.in_all:
            return False
        if self.limits.of_address and address is not None:
            client = client_of(address)
            if self._of_address[client] >= self.limits.of_address:
                return False
            self._of_address[client] += 1
        self._count += 1
        return True

    def leave(self, address: str | None) -> None:
        self._count -= 1
        if self.limits.of_address and address is not None:
            client = client_of(address)
            self._of_address[client] -= 1
            if not self._of_address[client]:
                del self._of_address[client]

    def wait_for(self, connection: Waiting) -> None:
        """Look at it from now on, while it waits."""
        self._waiting.add(connection)
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(_LOOK_EVERY_S, self._look_at_all, loop.time())

    def done_with(self, connection: Waiting) -> None:
        self._waiting.discard(connection)

    def _look_at_all(self, last_look: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._waiting = {each for each in self._waiting if each.is_waiting()}
        for connection in [each for each in self._waiting if each.is_late(now, now - last_look)]:
            connection.give_up()
        self._look = loop.call_later(_LOOK_EVERY_S, self._look_at_all, now) if self._waiting else None


def client_of(address: str) -> str:
    """What counts as one client: an IPv4 address, or the network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False))
