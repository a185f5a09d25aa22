"""Makes links of the identify calls with a `user_id` that were received before links counted.

Each such call gets a row of kind `link`, with its times and its traits, which are the user's. Then the old row loses
its traits and its `user_id`, and keeps its key and its merge. Safe beside running workers; after a crash, run it again.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from msgspec import Raw, Struct

from services.contract.links import Link, Moment, counting
from services.contract.log.envelope import IdentityLine
from services.contract.placeholders import is_placeholder_id
from services.contract.tables import IDENTITY_LOG
from services.runtime.clickhouse import ClickHouse
from services.worker.identity.writer import IdentityStore

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAGE_ROWS = 20_000
_BLOCK = 1000
# A link's id follows from that of the call, in both directions.
_ID_MASK = 0x6C696E6B2D686973746F72792D72756E
_MINE = "project_id = {project:String}"
_OLD = f"{_MINE} AND kind = 'identify' AND user_id NOT IN ('', distinct_id)"
_MOMENT = "(toUnixTimestamp64Micro(timestamp), toUnixTimestamp64Micro(received_at), toUInt128(event_id))"
_ALL_LINKS = (
    f"SELECT {_MOMENT} AS moment, distinct_id AS prior, user_id AS user FROM {IDENTITY_LOG} WHERE {_OLD} UNION ALL "
    f"SELECT {_MOMENT}, old_id, distinct_id FROM {IDENTITY_LOG} WHERE {_MINE} AND kind = 'link' AND old_id != ''"
)
_MOVED = (
    f"SELECT bitXor(toUInt128(event_id), toUInt128('{_ID_MASK}')) FROM {IDENTITY_LOG} WHERE {_MINE} AND kind = 'link'"
)


class History(Struct, frozen=True):
    """One project's calls with a `user_id` that are no links yet. `placeholders` of them name nobody, and stay as they
    are; `counting` would count."""

    project_id: str
    calls: int
    placeholders: int
    counting: int


async def projects_with_history(store: ClickHouse) -> list[str]:
    rows = await store.rows(
        f"SELECT DISTINCT project_id FROM {IDENTITY_LOG} WHERE kind = 'identify' AND user_id NOT IN ('', distinct_id) "
        "ORDER BY project_id"
    )
    return [row[0] for row in rows]


async def look_at_history(store: ClickHouse, project_id: str) -> History:
    """Changes nothing."""
    asked = {"project": project_id}
    pairs = await store.rows(
        f"SELECT distinct_id, user_id, uniqExact(event_id) FROM {IDENTITY_LOG} WHERE {_OLD} GROUP BY ALL", asked
    )
    nobody = {(prior, user) for prior, user, _ in pairs if is_placeholder_id(prior) or is_placeholder_id(user)}
    # Of each prior id the first can count; one of nobody is not said at all.
    firsts = await store.rows(f"SELECT prior, user, min(moment) FROM ({_ALL_LINKS}) GROUP BY prior, user", asked)
    links = counting(Link(tuple(at), prior, user) for prior, user, at in firsts if (prior, user) not in nobody)
    said = {(prior, user) for prior, user, _ in pairs}
    return History(
        project_id,
        calls=sum(calls for _, _, calls in pairs),
        placeholders=sum(calls for prior, user, calls in pairs if (prior, user) in nobody),
        counting=sum((link.prior, link.user) in said for link in links),
    )


async def link_history(store: ClickHouse, project_id: str) -> AsyncIterator[int]:
    """Yields how many calls have become links so far. Raises StoreError; may be repeated."""
    identity, done = IdentityStore(store), 0
    last: Moment = (0, 0, 0)
    while page := await _page(store, project_id, last):
        last = page[-1][0]
        lines = [
            line for _, line in page if not (is_placeholder_id(line.old_id) or is_placeholder_id(line.distinct_id))
        ]
        for at in range(0, len(lines), _BLOCK):
            await identity.keep_lines(lines[at : at + _BLOCK])
            done += len(lines[at : at + _BLOCK])
            yield done
    await store.command(
        f"ALTER TABLE {IDENTITY_LOG} UPDATE traits = '{{}}', user_id = '' WHERE {_OLD} "
        f"AND toUInt128(event_id) IN ({_MOVED})",
        {"project": project_id},
        {"mutations_sync": 2, "allow_nondeterministic_mutations": 1},
    )


async def _page(store: ClickHouse, project_id: str, after: Moment) -> list[tuple[Moment, IdentityLine]]:
    """Calls in the order of their moments, as links."""
    rows = await store.rows(
        f"SELECT {_MOMENT} AS moment, distinct_id, user_id, traits, set_once, idempotency_key FROM {IDENTITY_LOG} "
        f"WHERE {_OLD} "
        "AND moment > ({time:Int64}, {received:Int64}, {event:UInt128}) "
        f"ORDER BY moment LIMIT 1 BY event_id LIMIT {_PAGE_ROWS:d}",
        {"project": project_id, "time": after[0], "received": after[1], "event": after[2]},
    )
    return [(tuple(row[0]), _link(project_id, *row)) for row in rows]


def _link(project_id: str, moment: Moment, prior: str, user: str, traits: str, set_once: str, key: str) -> IdentityLine:
    time_us, received_us, event_id = moment
    return IdentityLine(
        project_id=project_id,
        event_id=f"{event_id ^ _ID_MASK:032x}",
        kind="link",
        distinct_id=user,
        timestamp=_EPOCH + timedelta(microseconds=time_us),
        received_at=_EPOCH + timedelta(microseconds=received_us),
        old_id=prior,
        user_id=user,
        traits=Raw(traits.encode() or b"{}"),
        idempotency_key=key,
        set_once=Raw(set_once.encode() or b"{}"),
    )
