"""The rule of links: which of them count. The worker joins people by it, the query service explains it. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

# When a message was said: its timestamp, when it was received (both in microseconds), its event id as a number.
Moment = tuple[int, int, int]


class Link(NamedTuple):
    """`prior` (a device, an anonymous id) was said to be of the user `user`."""

    at: Moment
    prior: str
    user: str


class Judgement(NamedTuple):
    """`earlier`: the link that counted before and is why this one does not; None where it counts."""

    link: Link
    earlier: Link | None


def judge(links: Iterable[Link]) -> list[Judgement]:
    """In the order of their moments. A link counts unless its prior side is already the prior side, or the user, of one that
    counted before: so a device that two people log in on joins no strangers.

    Of each prior id at most the first link counts. Links that end outside a person never count, so those inside tell
    the same alone as all of a project together.
    """
    taken: dict[str, Link] = {}
    judgements = []
    for link in sorted(links):
        earlier = taken.get(link.prior)
        judgements.append(Judgement(link, earlier))
        if earlier is None:
            taken[link.prior] = link
            taken.setdefault(link.user, link)
    return judgements


def counting(links: Iterable[Link]) -> list[Link]:
    """Those that count, in order."""
    return [link for link, earlier in judge(links) if earlier is None]
