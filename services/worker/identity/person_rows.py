"""Rows of person_ids: what each says of an id and its set, as Python values, and how they are stored."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from services.contract.tables import PERSON_IDS
from services.runtime.clickhouse import ClickHouse
from services.worker.identity.person_sets import PersonSet, alone
from services.worker.until_stored import fresh_token

# An insert that is parsed as one block is one part: stored whole or not at all.
AS_ONE_BLOCK = {"input_format_parallel_parsing": 0, "max_insert_block_size": 2**30}

# A version is an epoch (milliseconds since 2020) and a size. Those of before epochs are lower than any of now.
_SIZE_BITS = 24
_MAX_SIZE = 2**_SIZE_BITS - 1
_EPOCH_0_MS = 1_577_836_800_000


class PersonRow(Struct):
    """A row to insert. `name`, `least`, `roots`: of the set, where the id is its set id. The columns' names stay."""

    project_id: str
    distinct_id: str
    person_id: str
    version: int
    merged_away: bool
    name: str = ""
    least: str = ""
    roots: int = 0


class StoredRow(NamedTuple):
    """What person_ids says of an id: `person_id` is the set id."""

    person_id: str
    person_hash: int
    absorbed: bool
    version: int
    name: str
    least: str
    roots: int


def epoch_at(unix_ms: int, versions: int) -> int:
    """For sets that are computed at that time from the log, and replace rows with `versions` at most."""
    return max(unix_ms - _EPOCH_0_MS, (versions >> _SIZE_BITS) + 1)


def stored_set(distinct_id: str, rows: Mapping[str, StoredRow]) -> PersonSet:
    """The set of an id; without a canonical id where its rows do not say all."""
    row = rows.get(distinct_id)
    if row is None:
        return alone(distinct_id)
    of_set = rows.get(row.person_id)
    if of_set is None or of_set.person_id != row.person_id:
        return PersonSet(row.person_id, "", "", 0, 0, 0)
    epoch, size = of_set.version >> _SIZE_BITS, of_set.version & _MAX_SIZE
    return PersonSet(row.person_id, of_set.name, of_set.least, of_set.roots, epoch, size)


def person_row(project_id: str, distinct_id: str, one: PersonSet, absorbed: bool) -> PersonRow:
    version = (one.epoch << _SIZE_BITS) + min(one.size, _MAX_SIZE)
    row = PersonRow(project_id, distinct_id, one.set_id, version, absorbed)
    if distinct_id == one.set_id:
        row.name, row.least, row.roots = one.canonical_id, one.least, one.roots
    return row


async def store_person_rows(store: ClickHouse, rows: Sequence[PersonRow]) -> None:
    """All of them or none. Raises StoreError."""
    body = msgspec.json.Encoder().encode_lines(rows)
    await store.insert_lines(PERSON_IDS, PersonRow.__struct_fields__, body, fresh_token(), AS_ONE_BLOCK)
