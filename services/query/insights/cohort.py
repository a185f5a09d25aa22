"""The cohort query: how many people a cohort has, and who they are, a page at a time.

The pages are in order of a hash of the person's id: a position is then as short as that of any other list.
"""

from typing import Any

from msgspec import Struct

from services.contract.api.cohort import MAX_PAGE_PEOPLE, CohortQuery, CohortResult
from services.query.execution.executor import QueryExecutor
from services.query.request.cohorts import Rule, as_said, parse_cohort
from services.query.request.cursor import Position, binding, read_cursor, write_cursor
from services.query.sql.cohorts import cohort_people
from services.query.sql.parameters import Parameters, Promoted
from services.query.sql.persons import PERSON_ID

_PLACE = "toUInt128(reinterpretAsUInt128(sipHash128(who)))"


class CohortSpec(Struct, frozen=True):
    """`after`: the last person of the page before."""

    rule: Rule
    limit: int
    after: Position | None

    def identity(self, project_id: str) -> bytes:
        """What a cursor is bound to."""
        return cohort_identity(project_id, self.rule)


def cohort_identity(project_id: str, rule: Rule) -> bytes:
    return binding("cohort", project_id, as_said(rule))


def parse_cohort_query(query: CohortQuery, project_id: str) -> CohortSpec:
    rule = parse_cohort(query.cohort)
    after = None if query.cursor is None else read_cursor(query.cursor, cohort_identity(project_id, rule))
    return CohortSpec(rule, query.limit or MAX_PAGE_PEOPLE, after)


async def run_cohort(store: QueryExecutor, project_id: str, spec: CohortSpec, promoted: Promoted) -> CohortResult:
    ((size, listed),) = await store.rows(*cohort_sql(project_id, spec, promoted))
    page = listed[: spec.limit]
    result = CohortResult(size=size, people=[person for _, person in page])
    if len(listed) > len(page):
        last = Position(0, int(page[-1][0]).to_bytes(16, "big"))
        result.next_cursor = write_cursor(last, spec.identity(project_id))
    return result


def cohort_sql(project_id: str, spec: CohortSpec, promoted: Promoted) -> tuple[str, dict[str, Any]]:
    """One row: the size, and an array of (place, person) with one more than the limit."""
    parameters = Parameters("cohort", promoted)
    people = cohort_people(spec.rule, parameters, PERSON_ID)
    after = -1 if spec.after is None else int.from_bytes(spec.after.id, "big")
    listed = f"groupArraySortedIf({spec.limit + 1:d})(({_PLACE}, who), {_PLACE} >= {{next:UInt128}})"
    return f"SELECT count(), {listed} FROM ({people})", {
        "project": project_id,
        "next": after + 1,
        **parameters.values,
    }


def cohort_people_sql(project_id: str, spec: CohortSpec, promoted: Promoted) -> tuple[str, dict[str, Any]]:
    """One column, `unit`: everybody in it, each once."""
    parameters = Parameters("cohort", promoted)
    people = cohort_people(spec.rule, parameters)
    return f"SELECT who AS unit FROM ({people})", {"project": project_id, **parameters.values}
