"""The rule of links: which of them count. The worker joins people by it, the query service explains it. Pure."""

from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

# When a message was said: its timestamp, when it was received (both in microseconds), its event id as a number.
Moment = tuple[int, int, int]


_AT = attrgetter("at")


class Link(NamedTuple):
    """`prior` (a device, an anonymous id) was said to be of the user `user`."""

    at: Moment
    prior: str
    user: str


def counting(links: Iterable[Link]) -> list[Link]:
    """Those that count, in the order of their moments. A link counts unless its prior side is already the prior side, or
    the user, of one that counted before: so a device that two people log in on joins no strangers.

    Of each prior id at most the first link counts. Links that end outside a person never count, so those inside tell
    the same alone as all of a project together.
    """
    taken: set[str] = set()
    counted = []
    for link in sorted(links, key=_AT):
        if link.prior not in taken:
            counted.append(link)
            taken.add(link.prior)
            taken.add(link.user)
    return counted
