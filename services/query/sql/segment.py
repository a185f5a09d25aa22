"""The segment of a query as SQL: joins, conditions, and whom it counts (people, or groups).

Every query that counts takes its joins, its conditions and its unit from here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from services.query.request.breakdown import Breakdown
from services.query.request.filters import Condition
from services.query.request.segment import Segment
from services.query.sql.cohorts import in_cohort
from services.query.sql.conditions import conditions_sql, joins_of
from services.query.sql.groups import event_group, joined
from services.query.sql.parameters import Parameters, Promoted
from services.query.sql.persons import PERSON, PERSON_ID


class SegmentSql(Struct, frozen=True):
    """`FROM events AS e {joins} WHERE ...{where}`; `who` is the unit's column; parameters besides {project:String}.

    `filter_joins`: those that conditions need, where nobody is counted.
    """

    joins: str
    filter_joins: str
    where: str
    who: str
    parameters: dict[str, Any]

    def units_of_rows(
        self, given: str, columns: Sequence[str], aggregates: Mapping[str, str], table: str, rows: str, where: str = ""
    ) -> str:
        """Rows (unit, aggregates) of the events for which `rows` holds, and `where`, behind an AND: see `joined`. `given` is
        what stands behind WITH, `columns` of it what the aggregates see. On a cluster shards send these event by event, which
        whoever asked reads in a fraction of the time of states by person: most people have events on every shard."""
        kept = ", ".join(f"{aggregate} AS {name}" for name, aggregate in aggregates.items())
        events = (
            f"WITH {given} SELECT {self.who} AS unit, {', '.join(columns)} "
            f"FROM {joined(table, rows, self.joins)}{where}{self.where}"
        )
        return f"SELECT unit, {kept} FROM ({events}) GROUP BY unit"


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
    types = [segment.aggregate_by, None if breakdown is None else breakdown.group_type]
    filter_joins = joins_of(conditions, parameters, persons=segment.cohort is not None, group_types=types)
    if segment.aggregate_by is None:
        joins = joins_of(conditions, parameters, persons=True, named=person == PERSON_ID, group_types=types)
        return SegmentSql(joins, filter_joins, where, person, parameters.values)
    group = event_group(segment.aggregate_by, parameters)
    return SegmentSql(filter_joins, filter_joins, f"{where} AND {group} != ''", group, parameters.values)
