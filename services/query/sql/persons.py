"""How ids resolve to people. `person_ids` holds only ids that were merged; any other id is a person by itself.

A row says the key of the id's set; the person's id, the set's name, is in the row of the key. Counting needs keys only.

People are told apart by a 64-bit hash of project and id, which is stored beside each id: comparing, grouping and
joining it takes a third of the time of the text. docs/explanation/identity.md says how unlikely it is
that two ids share one.
"""

from collections.abc import Sequence
from typing import Any

from services.contract.tables import PERSON_IDS

# After `FROM events AS e ...`; {project:String} must be given. An id that is its own person needs no row. FINAL first:
# only the latest row of an id says whose it is.
_MERGED = (
    f"FROM {PERSON_IDS} FINAL WHERE project_id = {{project:String}} AND person_hash != distinct_hash "
    "SETTINGS optimize_move_to_prewhere_if_final = 0) AS merged ON merged.distinct_hash = e.distinct_hash"
)
JOIN_PERSONS = f"ANY LEFT JOIN (SELECT distinct_hash, person_hash {_MERGED}"
_JOIN_WITH_IDS = f"ANY LEFT JOIN (SELECT distinct_hash, person_hash, person_id {_MERGED}"
# A row that the join did not find has 0. A number for sets and groups, the id for answers.
PERSON = "if(merged.person_hash = 0, e.distinct_hash, merged.person_hash)"
PERSON_ID = "multiIf(named.name != '', named.name, merged.person_hash = 0, e.distinct_id, merged.person_id)"

# Of sets that were made before there were names, the key is the person's id.
_NAMES = (
    f"ANY LEFT JOIN (SELECT distinct_hash, name FROM {PERSON_IDS} FINAL WHERE project_id = {{project:String}} "
    "AND name != '' SETTINGS optimize_move_to_prewhere_if_final = 0) AS named ON named.distinct_hash = "
)
_NAME = "if(named.name = '', merged.person_id, named.name)"
# {person:String}, the set id of a person -> all ids. It is in the table when it was ever merged; then the table says whose
# it is.
IDS_OF_PERSON = (
    f"SELECT distinct_id FROM {PERSON_IDS} FINAL "
    "WHERE project_id = {project:String} AND person_id = {person:String} "
    "UNION DISTINCT SELECT {person:String} AS distinct_id WHERE {person:String} NOT IN (SELECT distinct_id "
    f"FROM {PERSON_IDS} WHERE project_id = {{project:String}} AND distinct_id = {{person:String}})"
)
# {id:String} -> its person's (set id, id).
PERSON_OF = (
    f"SELECT merged.person_id, {_NAME} FROM (SELECT person_id, person_hash FROM {PERSON_IDS} FINAL "
    f"WHERE project_id = {{project:String}} AND distinct_id = {{id:String}}) AS merged {_NAMES}merged.person_hash"
)


def join_persons(named: bool) -> str:
    """`named`: PERSON_ID is spoken of, not only PERSON."""
    return f"{_JOIN_WITH_IDS} {_NAMES}{PERSON}" if named else JOIN_PERSONS


def names_of_all(where: str) -> str:
    """One column, `who`: the people's ids of the merged ids for which `where` holds; may have duplicates."""
    return (
        f"SELECT {_NAME} AS who FROM (SELECT person_id, person_hash FROM {PERSON_IDS} FINAL WHERE {where}) AS merged "
        f"{_NAMES}merged.person_hash"
    )


def rows_of_page(ids: str) -> str:
    """Rows (distinct_hash, person_hash, person_id, name) of those of some hashes (SQL of an array) that were ever
    merged, and of the keys of their sets: see `people_of_rows`."""
    of_ids = f"FROM {PERSON_IDS} FINAL PREWHERE distinct_hash IN {ids}"
    of_project = "WHERE project_id = {project:String}"
    return (
        f"SELECT distinct_hash, person_hash, person_id, name {of_ids} "
        f"OR distinct_hash IN (SELECT person_hash {of_ids} {of_project}) {of_project}"
    )


def people_of_rows(rows: Sequence[Sequence[Any]]) -> dict[int, str]:
    """The person's id by the hash of each id in the rows."""
    names = {distinct_hash: name for distinct_hash, _, _, name in rows}
    return {distinct_hash: names.get(key) or person_id for distinct_hash, key, person_id, _ in rows}
