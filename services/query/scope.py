"""What a question is about: which events (`filter`, `cohort`), and who is counted (people, or groups: `aggregate_by`).

Every question that counts takes its joins, its conditions and its unit from here.
"""

from typing import Any

from msgspec import Struct

from services.contract.errors import ApiError, ErrorCode
from services.contract.query_fields import ScopedQuery
from services.query.cohort_rules import Rule, parse_cohort
from services.query.cohort_sql import in_cohort
from services.query.filter_sql import conditions_sql
from services.query.filters import Condition, parse_filter
from services.query.parameters import Parameters
from services.query.persons import JOIN_PERSONS, PERSON
from services.query.trait_sql import group_of_people


class Scope(Struct, frozen=True):
    """`aggregate_by`: the type of group that is counted instead of people; those without such a group are left out."""

    conditions: list[Condition] = []
    cohort: Rule | None = None
    aggregate_by: str | None = None

    @property
    def needs_persons(self) -> bool:
        """Whether it tells people apart: then JOIN_PERSONS cannot be left out."""
        return bool(self.cohort or self.aggregate_by or any(c.needs_persons for c in self.conditions))


class ScopeSql(Struct, frozen=True):
    """`FROM events AS e {joins} WHERE ...{where}`; `who` is the unit's column; parameters besides {project:String}."""

    joins: str
    where: str
    who: str
    parameters: dict[str, Any]


def parse_scope(query: ScopedQuery) -> Scope:
    """Raises ApiError naming the field."""
    aggregate_by = query.aggregate_by
    if aggregate_by is not None and "\0" in aggregate_by:
        raise ApiError(
            ErrorCode.INVALID_FIELD, "`aggregate_by` must not contain the character NUL.", field="aggregate_by"
        )
    cohort = None if query.cohort is None else parse_cohort(query.cohort)
    return Scope(parse_filter(query.filter), cohort, aggregate_by)


def scope_sql(scope: Scope, person: str = PERSON) -> ScopeSql:
    """`person`: PERSON, or PERSON_ID where people are to be named."""
    parameters = Parameters("scope")
    where = conditions_sql(scope.conditions, parameters) + in_cohort(scope.cohort, parameters)
    if scope.aggregate_by is None:
        return ScopeSql(JOIN_PERSONS, where, person, parameters.values)
    # Not ANY: of an inner join that would keep one event for each person. Each person is in `groups` once.
    groups = group_of_people(parameters.add(scope.aggregate_by, "String"))
    joins = f"{JOIN_PERSONS} INNER JOIN ({groups}) AS grouped ON grouped.who = {PERSON}"
    return ScopeSql(joins, where, "grouped.group_key", parameters.values)
