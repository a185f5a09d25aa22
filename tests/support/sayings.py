"""What is said of ids in a project, for hypothesis and by hand, and how it gets into the identity log."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from services.contract.log.envelope import IdentityLine
from tests.support.oracle_links import Said

MOMENT = datetime(2026, 11, 20, tzinfo=UTC)
IDS = st.sampled_from(["a", "b", "c", "d", "é '\\", "f"])
_HALF = 2**64
KINDS = ["alias", "link", "link", "link", "unmerge"]


@st.composite
def sayings(draw: st.DrawFn) -> list[Said]:
    """Few ids and moments, so that links meet, and many are of one moment."""
    rows = st.tuples(st.sampled_from(KINDS), IDS, IDS, st.integers(0, 3), st.integers(0, 3), st.integers(0, _HALF - 1))
    drawn = draw(st.lists(rows, max_size=14, unique_by=lambda row: row[5]))
    return [
        Said(kind, old, new, after(at), after(received), str(UUID(int=event_id * _HALF)))
        for kind, old, new, at, received, event_id in drawn
        if kind != "link" or old != new
    ]


def identity_line(project: str, said: Said) -> IdentityLine:
    """No two projects have a message with the same id, and ids of a project are in the order of what was said."""
    of_project = xxh3_64_intdigest(project.encode())
    return IdentityLine(
        project_id=project,
        event_id=str(UUID(int=UUID(said.event_id).int // _HALF * _HALF + of_project)),
        kind=said.kind,
        distinct_id=said.new,
        timestamp=said.time,
        received_at=said.received,
        old_id=said.old,
        user_id=said.new if said.kind == "link" else "",
    )


def after(seconds: float) -> datetime:
    return MOMENT + timedelta(seconds=seconds)


def say(kind: str, old_id: str, new_id: str, seconds: float = 0, received: float | None = None) -> Said:
    return Said(kind, old_id, new_id, after(seconds), after(seconds if received is None else received), str(uuid4()))


def merge(old_id: str, new_id: str, seconds: float = 0) -> Said:
    return say("alias", old_id, new_id, seconds)


def link(prior_id: str, user_id: str, seconds: float = 0) -> Said:
    return say("link", prior_id, user_id, seconds)
