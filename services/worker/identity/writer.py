"""Stores identity messages in the identity log, each once, and keeps person_ids in step with it.

Volume is low and exactness matters, so duplicates and the sets that a merge joins are looked up in ClickHouse, not in memory.
What a block of messages changes is stored whole or not at all: after a crash the records are read again, and find it done
or do it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from prometheus_client import Counter

from services.contract.api.timestamps import microseconds
from services.contract.links import Moment
from services.contract.log.dead_letter import DeadLetter, Origin
from services.contract.log.envelope import IdentityLine
from services.contract.log.event_ids import id_of_key, id_of_merge
from services.contract.log.marks import DeletionLine, decode_deletion, is_deletion
from services.contract.tables import (
    DELETED_IDS,
    DELETIONS,
    IDENTITY_COLUMNS,
    IDENTITY_LOG,
    PERSON_IDS,
    TAKEN_IDS,
)
from services.runtime.clickhouse import BadDataError, ClickHouse
from services.worker.dead_letters import dead_letter
from services.worker.identity.deletions import DELETIONS_AT_ONCE, settle_deletions
from services.worker.identity.person_rows import PersonRow, StoredRow, person_row, store_person_rows, stored_set
from services.worker.identity.person_sets import Edge, Joined, PersonSet, join
from services.worker.identity.region import in_chunks, recomputed_rows
from services.worker.identity.statements import (
    LEAST_ROOTS_SQL,
    LINKS_OF_PRIORS_SQL,
    LINKS_OF_USERS_SQL,
    LOGGED_SQL,
    MEMBERS_OF_SETS_SQL,
    PEOPLE_SQL,
    ROWS_OF_ENDS_SQL,
    ROWS_SQL,
    UNMERGED_OR_DELETED_SQL,
)
from services.worker.record import Record
from services.worker.until_stored import fresh_token

MESSAGES = Counter(
    "headrace_worker_identity_total", "Identify, alias and group messages by what became of them.", ["result"]
)
# What is read before it is written.
_READ = (IDENTITY_LOG, PERSON_IDS, DELETIONS, DELETED_IDS, TAKEN_IDS)
_decode = msgspec.json.Decoder(IdentityLine).decode


class _Message(NamedTuple):
    """What the log says of a message that names two ids."""

    event_id: str
    kind: str
    edge: Edge


class _Judged(NamedTuple):
    """Links that join two sets and change nothing else, by event id; and ids whose sets must be computed as a whole."""

    joining: dict[str, Edge]
    doubtful: set[str]


class IdentityStore:
    """The identity tables. Methods raise StoreError; each may be repeated. `appended`: messages that the log did not have."""

    def __init__(self, store: ClickHouse) -> None:
        self._store = store
        self.appended = 0

    async def keep(self, records: Sequence[Record]) -> list[DeadLetter]:
        """Store the messages of some records of one partition; those that are no messages, and those that the tables
        refuse, come back. Deletions stand between them: what was said before one belongs to it."""
        messages, bad = _decode_records(records)
        await self._bring_up_to_date()
        for deletion, group in groupby(messages, key=_deletion_of_project):
            run = list(group)
            if deletion is None:
                bad += await self._keep_each([message for message in run if isinstance(message.line, IdentityLine)])
                continue
            lines = [message.line for message in run if isinstance(message.line, DeletionLine)]
            for at in range(0, len(lines), DELETIONS_AT_ONCE):
                await settle_deletions(self._store, deletion, lines[at : at + DELETIONS_AT_ONCE])
        return bad

    async def _bring_up_to_date(self) -> None:
        """On a cluster: what the worker before, or this one by another server, has said must be here before it is read."""
        for table in _READ if self._store.cluster else ():
            await self._store.command(f"SYSTEM SYNC REPLICA {self._store.database}.{table} LIGHTWEIGHT")

    async def _keep_each(self, messages: Sequence["_ReadLine"]) -> list[DeadLetter]:
        """In order. A refused message is found by halving, and costs itself only."""
        try:
            await self.keep_lines([m.line for m in messages if isinstance(m.line, IdentityLine)])
        except BadDataError as error:
            if len(messages) == 1:
                return [dead_letter(messages[0].text, str(error)[:500], messages[0].origin)]
            half = len(messages) // 2
            return await self._keep_each(messages[:half]) + await self._keep_each(messages[half:])
        return []

    async def keep_lines(self, lines: Sequence[IdentityLine]) -> None:
        by_project: defaultdict[str, list[_Message]] = defaultdict(list)
        for project_id, message in await self._append_new(lines):
            if message.edge[0]:
                by_project[project_id].append(message)
        for project_id, messages in by_project.items():
            await self._settle(project_id, messages)

    async def people(self, project_id: str, distinct_ids: Sequence[str]) -> dict[str, str]:
        """The ids of the people of those that were ever merged."""
        rows = await self._store.rows(PEOPLE_SQL, {"project": project_id, "ids": list(distinct_ids)})
        return {row[0]: row[1] for row in rows}

    async def _append_new(self, lines: Sequence[IdentityLine]) -> list[tuple[str, _Message]]:
        """Append what the log does not have. The first message with an id wins, in the log and within `lines`; so the merge
        of a message that has not won is left out.

        What the log says of all of them now, with their projects.
        """
        first: dict[UUID, IdentityLine] = {}
        for line in lines:
            first.setdefault(UUID(line.event_id), line)
        if not first:
            return []
        messages = {event_id: of for event_id, line in first.items() if (of := _message_of_merge(line))}
        asked = {
            "projects": sorted({line.project_id for line in lines}),
            "ids": [str(event_id) for event_id in {*first, *messages.values()}],
        }
        logged: dict[UUID, tuple[str, _Message]] = {}
        received_us = {event_id: microseconds(line.received_at) for event_id, line in first.items()}
        for found, project_id, kind, old_id, new_id, at_us in await self._store.rows(LOGGED_SQL, asked):
            logged[event_id := UUID(str(found))] = (project_id, _Message(str(found), kind, (old_id, new_id)))
            received_us[event_id] = at_us
        late = {
            merge for merge, of in messages.items() if received_us.get(of, received_us[merge]) != received_us[merge]
        }
        fresh = {event_id: line for event_id, line in first.items() if event_id not in logged and event_id not in late}
        MESSAGES.labels("duplicate").inc(len(lines) - len(fresh))
        if fresh:
            body = msgspec.json.Encoder().encode_lines(fresh.values())
            await self._store.insert_lines(IDENTITY_LOG, IDENTITY_COLUMNS, body, fresh_token())
            MESSAGES.labels("stored").inc(len(fresh))
            self.appended += len(fresh)
        logged |= {
            event_id: (line.project_id, _Message(str(event_id), line.kind, (line.old_id, line.distinct_id)))
            for event_id, line in fresh.items()
        }
        return [logged[event_id] for event_id in first if event_id in logged]

    async def _settle(self, project_id: str, messages: list[_Message]) -> None:
        """Bring person_ids up to date with these messages of the log.

        As a rule from the rows of their sets. Sets that an unmerged edge lies in or between, or that a link may part, are
        computed as a whole from the log: whoever unmerges reads the log after writing to it, and so knows every merge
        that does not know of this. Sets without a canonical id (from before migration 0007) are as well.
        A message that comes after a deletion of one of its ids, and is covered by it, joins nothing.
        """
        asked = {"project": project_id, "events": [message.event_id for message in messages]}
        unmerged: list[Edge] = []
        deleted: set[str] = set()
        for old_id, new_id, event_id in await self._store.rows(UNMERGED_OR_DELETED_SQL, asked):
            if event_id:
                deleted.add(event_id)
            else:
                unmerged.append((old_id, new_id))
        messages = [message for message in messages if message.event_id not in deleted]
        asked["events"] = [message.event_id for message in messages]
        judged = await self._judge(asked, [m.event_id for m in messages if m.kind == "link"])
        edges = {m.event_id: m.edge for m in messages if m.kind != "link"} | judged.joining
        rows = await self._rows_around(asked, judged.doubtful)
        ends = {end for edge in edges.values() for end in edge} | judged.doubtful
        sets = {end: stored_set(end, rows) for end in ends}
        whole = {stored_set(end, rows).set_id for edge in unmerged for end in edge}
        whole |= {sets[end].set_id for end in judged.doubtful}
        whole |= {one.set_id for one in sets.values() if not one.canonical_id}
        absorbed = {end for end in ends if end in rows and rows[end].absorbed}
        joined = join(set(edges.values()), sets, absorbed)
        doubtful = {b.set_id for each in joined if whole & {b.set_id for b in each.before} for b in each.before}
        asked["events"] = list(edges)
        changed = await self._joined(asked, rows, sets, [each for each in joined if each.set_id not in doubtful])
        touched = {end for edge in edges.values() for end in edge if sets[end].set_id in doubtful} | judged.doubtful
        if touched:
            changed += await recomputed_rows(self._store, project_id, touched)
        if changed:
            await store_person_rows(self._store, changed)

    async def _judge(self, asked: dict[str, Any], event_ids: Collection[str]) -> _Judged:
        """What some links change. Of a prior id only the first link can count.

        It joins, and changes nothing else, where no other user was first until now, and neither its prior id was said to
        be a user before, nor its user to be a prior id later.
        """
        judged = _Judged({}, set())
        if not event_ids:
            return judged
        fresh = {UUID(event_id).int for event_id in event_ids}
        asked = {**asked, "events": list(event_ids)}
        rows = await self._store.rows(LINKS_OF_PRIORS_SQL, asked)
        first_of: dict[str, tuple[Moment, str]] = {row[0]: row[1] for row in rows}
        first_as_user: dict[str, Moment] = {row[0]: row[1] for row in await self._store.rows(LINKS_OF_USERS_SQL, asked)}
        for prior, (moment, user), (_, user_before), users in rows:
            if moment[2] not in fresh:
                continue
            said = {*users, user_before} - {""}
            is_user_before = prior in first_as_user and first_as_user[prior] < moment
            is_prior_later = user in first_of and first_of[user][0] > moment
            if len(said) > 1 or is_user_before or is_prior_later:
                judged.doubtful.update({prior, *said})
            else:
                judged.joining[str(UUID(int=moment[2]))] = prior, user
        return judged

    async def _rows_around(self, asked: dict[str, Any], ids: Iterable[str]) -> dict[str, StoredRow]:
        """The rows of the messages' ends and of some ids, and those of their sets' ids."""
        rows = {row[0]: StoredRow(*row[1:]) for row in await self._store.rows(ROWS_OF_ENDS_SQL, asked)}
        rows |= await self._rows_of(asked, set(ids) - set(rows))
        return rows | await self._rows_of(asked, {row.person_id for row in rows.values()} - set(rows))

    async def _rows_of(self, asked: dict[str, Any], ids: Iterable[str]) -> dict[str, StoredRow]:
        rows: dict[str, StoredRow] = {}
        for some in in_chunks(ids):
            found = await self._store.rows(ROWS_SQL, {"project": asked["project"], "ids": some})
            rows |= {row[0]: StoredRow(*row[1:]) for row in found}
        return rows

    async def _joined(
        self, asked: dict[str, Any], rows: dict[str, StoredRow], sets: dict[str, PersonSet], joined: list[Joined]
    ) -> list[PersonRow]:
        """The rows that change: all ids of the sets that lose their id; of the others the ends at most, and the set id."""
        unnamed = [rows[set_id] for each in joined for set_id in each.unnamed]
        found: dict[str, str] = {row[0]: row[1] for row in await self._of_sets(LEAST_ROOTS_SQL, asked, unnamed)}
        losing = [one for each in joined for one in each.before if one.set_id != each.set_id and one.set_id in rows]
        members: defaultdict[str, dict[str, bool]] = defaultdict(dict)
        of_losing = await self._of_sets(MEMBERS_OF_SETS_SQL, asked, [rows[one.set_id] for one in losing])
        for distinct_id, set_id, absorbed, _ in of_losing:
            members[set_id][distinct_id] = bool(absorbed)
        for end, one in sets.items():
            members[one.set_id][end] = end in rows and rows[end].absorbed
        changed = []
        for each in joined:
            if each.set_id in rows and len(each.before) == 1 and not each.absorbed:
                continue
            of_set = each.person_set(found)
            for distinct_id, absorbed in {k: v for one in each.before for k, v in members[one.set_id].items()}.items():
                absorbed |= distinct_id in each.absorbed
                row = rows.get(distinct_id)
                is_new = row is None or (row.person_id, row.absorbed) != (each.set_id, absorbed)
                if distinct_id != each.set_id and is_new:
                    changed.append(person_row(asked["project"], distinct_id, of_set, absorbed))
            absorbed = each.set_id in each.absorbed or (each.set_id in rows and rows[each.set_id].absorbed)
            changed.append(person_row(asked["project"], each.set_id, of_set, absorbed))
        return changed

    async def _of_sets(self, sql: str, asked: dict[str, Any], set_ids: list[StoredRow]) -> list[Sequence[Any]]:
        """`set_ids`: the rows of the sets' ids."""
        return await self._store.rows(sql, {**asked, "sets": [row.person_hash for row in set_ids]}) if set_ids else []


def _message_of_merge(line: IdentityLine) -> UUID | None:
    """The message that this merge was a part of, where that linked as well. Its lines are of one moment and in one record."""
    if line.kind != "alias" or not line.idempotency_key:
        return None
    message = id_of_key(line.project_id, line.idempotency_key, "identify")
    return UUID(bytes=message) if id_of_merge(message).hex() == UUID(line.event_id).hex else None


class _ReadLine(NamedTuple):
    """A line of the log, as it was read and as it stood there."""

    line: IdentityLine | DeletionLine
    text: bytes
    origin: Origin


def _decode_line(text: bytes) -> IdentityLine | DeletionLine:
    """Raises msgspec.DecodeError, and ValueError where the id is none."""
    if is_deletion(text):
        deletion = decode_deletion(text)
        UUID(deletion.deletion_id)
        return deletion
    line = _decode(text)
    UUID(line.event_id)
    return line


def _deletion_of_project(message: _ReadLine) -> str | None:
    """The project of a deletion; None for any other message."""
    return message.line.project_id if isinstance(message.line, DeletionLine) else None


def _decode_records(records: Sequence[Record]) -> tuple[list[_ReadLine], list[DeadLetter]]:
    messages, bad = [], []
    for record in records:
        for i, text in enumerate((record.value or b"").rstrip(b"\n").split(b"\n")):
            origin = Origin(
                service="worker", topic=record.topic, partition=record.partition, offset=record.offset, line=i
            )
            try:
                messages.append(_ReadLine(_decode_line(text), text, origin))
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
                bad.append(dead_letter(text, str(error), origin))
    return messages, bad
