"""Rules about people -> SQL: each leaf is read once, and one pass over its people decides who is in the cohort."""

from collections.abc import Iterator
from itertools import count

from services.contract.tables import COHORT_IDS, DELETED_IDS, IDENTITY_LOG, PERSON_IDS
from services.query.request.cohorts import Did, Every, Has, Leaf, Listed, Not, Rule, leaves
from services.query.sql.conditions import conditions_sql, joins_of, trait_people
from services.query.sql.events import EVENTS_ONCE, EVENTS_WITH_DUPLICATES, KEPT, NOT_DELETED, in_window
from services.query.sql.parameters import Parameters
from services.query.sql.persons import PERSON, PERSON_ID, join_persons, names_of_all


def cohort_people(rule: Rule, parameters: Parameters, who: str = PERSON) -> str:
    """One column, `who`, which is PERSON or PERSON_ID: each person once."""
    sets = [f"SELECT who, toUInt64({1 << i:d}) AS leaf FROM ({_leaf(x, parameters, who)})" for i, x in _numbered(rule)]
    if _takes_nobodies(rule):
        sets.append(f"SELECT who, toUInt64(0) AS leaf FROM ({_everybody(who)})")
    holds = _holds(rule, count())
    return (
        f"SELECT who FROM (SELECT who, groupBitOr(leaf) AS leaves FROM ({' UNION ALL '.join(sets)}) GROUP BY who) "
        f"WHERE {holds}"
    )


def in_cohort(rule: Rule | None, parameters: Parameters) -> str:
    """A condition behind an AND on PERSON. Never lists everybody: of most people it lists the few others."""
    if rule is None:
        return ""
    if _takes_nobodies(rule):
        return f" AND ({PERSON} NOT IN ({cohort_people(Not(rule), parameters)}))"
    return f" AND ({PERSON} IN ({cohort_people(rule, parameters)}))"


def _numbered(rule: Rule) -> Iterator[tuple[int, Leaf]]:
    return enumerate(leaves(rule))


def _takes_nobodies(rule: Rule) -> bool:
    """Whether people are in it who are in none of its leaves."""
    if isinstance(rule, Did | Has | Listed):
        return False
    if isinstance(rule, Not):
        return not _takes_nobodies(rule.rule)
    nobodies = map(_takes_nobodies, rule.rules)
    return all(nobodies) if isinstance(rule, Every) else any(nobodies)


def _holds(rule: Rule, number: "count[int]") -> str:
    """Over the bits of `leaves`, which are numbered from left to right."""
    if isinstance(rule, Did | Has | Listed):
        return f"bitTest(leaves, {next(number):d})"
    if isinstance(rule, Not):
        return f"NOT ({_holds(rule.rule, number)})"
    word = " AND " if isinstance(rule, Every) else " OR "
    return f"({word.join(_holds(part, number) for part in rule.rules)})"


def _everybody(who: str) -> str:
    """Everyone of whom anything is known. A merged id without events or calls of its own is in person_ids."""
    persons = join_persons(who == PERSON_ID)
    known = f"{persons} WHERE e.project_id = {{project:String}} AND {NOT_DELETED}"
    undeleted = (
        "project_id = {project:String} AND distinct_hash NOT IN "
        f"(SELECT distinct_hash FROM {DELETED_IDS} WHERE project_id = {{project:String}})"
    )
    merged = f"SELECT person_hash AS who FROM {PERSON_IDS} FINAL WHERE {undeleted}"
    return (
        f"SELECT {who} AS who FROM {EVENTS_WITH_DUPLICATES} {known}{KEPT} GROUP BY who UNION ALL "
        f"SELECT {who} AS who FROM {IDENTITY_LOG} AS e {known} AND e.distinct_id != '' GROUP BY who UNION ALL "
        f"SELECT who FROM ({merged if who == PERSON else names_of_all(undeleted)}) GROUP BY who"
    )


def _leaf(leaf: Leaf, parameters: Parameters, who: str) -> str:
    if isinstance(leaf, Has):
        return trait_people(leaf.condition, parameters, who)
    if isinstance(leaf, Listed):
        ids = (
            "SELECT distinct_id, sipHash64(project_id, distinct_id) AS distinct_hash, added_at AS timestamp, "
            "added_at AS received_at "
            f"FROM {COHORT_IDS} WHERE project_id = {{project:String}} AND list_id = {parameters.add(leaf.list_id, 'String')}"
        )
        return (
            f"SELECT {who} AS who FROM ({ids}) AS e {join_persons(who == PERSON_ID)} WHERE {NOT_DELETED} GROUP BY who"
        )
    window = in_window(parameters.add(leaf.window.since_us, "Int64"), parameters.add(leaf.window.until_us, "Int64"))
    event = parameters.add(leaf.event, "String")
    # Whoever did it once did it, however often the row is stored; further times are counted without duplicates.
    ever = leaf.times == 1 and not leaf.exactly
    having = "" if ever else f" HAVING count() {'=' if leaf.exactly else '>='} {parameters.add(leaf.times, 'UInt64')}"
    joins = joins_of(leaf.conditions, parameters, persons=True, named=who == PERSON_ID)
    return (
        f"SELECT {who} AS who FROM {EVENTS_WITH_DUPLICATES if ever else EVENTS_ONCE} {joins} "
        f"WHERE {window} AND e.event = {event}{conditions_sql(leaf.conditions, parameters)} GROUP BY who{having}"
    )
