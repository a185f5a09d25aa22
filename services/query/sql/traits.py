"""People by their traits and groups, from the identity log: `person.plan`, `group.company`, `group.company.plan`.

The latest value counts, over all ids of the person (or all calls about the group): by the call's timestamp, ties by
event id. Each condition is one pass over the project's part of the log, whatever the number of events.
"""

from services.contract.tables import IDENTITY_LOG
from services.query.sql.events import NOT_DELETED
from services.query.sql.parameters import Parameters
from services.query.sql.persons import PERSON, PERSON_ID, join_persons
from services.query.sql.properties import property_text

_LATEST = "(e.timestamp, toUInt128(e.event_id))"
_LOG = f"FROM {IDENTITY_LOG} AS e"
_OF_KIND = f"WHERE e.project_id = {{project:String}} AND {NOT_DELETED} AND e.kind = "


def group_of_people(group_type: str, who: str = PERSON) -> str:
    """Rows (who, group_key): the group of a type that each person was put into last. `group_type` is SQL."""
    return (
        f"SELECT {who} AS who, argMax(e.group_key, {_LATEST}) AS group_key {_LOG} {join_persons(who == PERSON_ID)} "
        f"{_OF_KIND}'group' AND e.group_type = {group_type} GROUP BY who"
    )


def trait_holders(key: str, value_holds: str, parameters: Parameters, who: str = PERSON) -> str:
    """The people (one column, `who`) for whom `value_holds`, SQL about the JSON text `value`, which is never empty."""
    subject, _, name = key.partition(".")
    if subject == "person":
        text = property_text("e.traits", name, parameters)
        return (
            f"SELECT who FROM (SELECT {who} AS who, argMax({text}, {_LATEST}) AS value {_LOG} {join_persons(who == PERSON_ID)} "
            f"{_OF_KIND}'identify' AND {text} != '' GROUP BY who) WHERE {value_holds}"
        )
    group_type, dot, trait = name.partition(".")
    kind = parameters.add(group_type, "String")
    members = group_of_people(kind, who)
    if not dot:
        return f"SELECT who FROM (SELECT who, toJSONString(group_key) AS value FROM ({members})) WHERE {value_holds}"
    text = property_text("e.traits", trait, parameters)
    groups = (
        f"SELECT group_key FROM (SELECT e.group_key AS group_key, argMax({text}, {_LATEST}) AS value {_LOG} "
        f"{_OF_KIND}'group' AND e.group_type = {kind} AND {text} != '' GROUP BY group_key) WHERE {value_holds}"
    )
    return f"SELECT who FROM ({members}) WHERE group_key IN ({groups})"
