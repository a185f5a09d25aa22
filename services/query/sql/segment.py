"""The segment of a query as SQL: joins, conditions, and whom it counts (people, or groups).

Every query that counts takes its joins, its conditions and its unit from here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from services.query.request.breakdown import Breakdown
from services.query.request.filters import Condition
from services.query.request.segment import Segment
from services.query.sql.breakdown import breakdown_join
from services.query.sql.cohorts import in_cohort
from services.query.sql.conditions import conditions_sql
from services.query.sql.parameters import Parameters, Promoted
from services.query.sql.persons import PERSON, PERSON_ID, join_persons
from services.query.sql.traits import group_of_people


class SegmentSql(Struct, frozen=True):
    """`FROM events AS e {joins} WHERE ...{where}`; `who` is the unit's column; parameters besides {project:String}.

    `filter_joins`: those that conditions need, where nobody is counted.
    """

    joins: str
    filter_joins: str
    where: str
    who: str
    parameters: dict[str, Any]

    def units(self, given: str, aggregates: Mapping[str, str], table: str, where: str) -> str:
        """Rows (unit, aggregates) of the events for which `where` holds. `given` is what stands behind WITH."""
        columns = ", ".join(f"{aggregate} AS {name}" for name, aggregate in aggregates.items())
        return (
            f"WITH {given} SELECT {self.who} AS unit, {columns} "
            f"FROM {table} {self.joins} WHERE {where}{self.where} GROUP BY unit"
        )


def segment_sql(
    segment: Segment,
    promoted: Promoted,
    conditions: Sequence[Condition] = (),
    person: str = PERSON,
    breakdown: Breakdown | None = None,
) -> SegmentSql:
    """`conditions` and `breakdown`: those of the query. `person`: PERSON, or PERSON_ID where people are named."""
    parameters = Parameters("segment", promoted)
    where = conditions_sql(segment.conditions, parameters) + in_cohort(segment.cohort, parameters)
    conditions = [*segment.conditions, *conditions]
    needs_persons = segment.cohort is not None or any(c.needs_persons for c in conditions)
    needs_names = any(c.needs_names for c in conditions)
    of_groups = breakdown_join(breakdown, parameters)
    filter_joins = join_persons(needs_names) + of_groups if needs_persons or of_groups else ""
    if segment.aggregate_by is None:
        joins = join_persons(needs_names or person == PERSON_ID) + of_groups
        return SegmentSql(joins, filter_joins, where, person, parameters.values)
    # Not ANY: of an inner join that would keep one event for each person. Each person is in `groups` once.
    groups = group_of_people(parameters.add(segment.aggregate_by, "String"))
    joins = f"{join_persons(needs_names)}{of_groups} INNER JOIN ({groups}) AS grouped ON grouped.who = {PERSON}"
    return SegmentSql(joins, filter_joins, where, "grouped.group_key", parameters.values)
