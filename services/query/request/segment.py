"""The segment of a query: which events (`filter`, `cohort`), and who is counted (`aggregate_by`)."""

from msgspec import Struct

from services.contract.api.fields import SegmentedQuery
from services.contract.api.validation import refuse_nul
from services.query.request.cohorts import Rule, parse_cohort
from services.query.request.filters import Condition, parse_filter


class Segment(Struct, frozen=True):
    """`aggregate_by`: the type of group that is counted instead of people; those without such a group are left out."""

    conditions: list[Condition] = []
    cohort: Rule | None = None
    aggregate_by: str | None = None


def parse_segment(query: SegmentedQuery) -> Segment:
    """Raises ApiError naming the field."""
    refuse_nul(query.aggregate_by, "aggregate_by")
    cohort = None if query.cohort is None else parse_cohort(query.cohort)
    return Segment(parse_filter(query.filter), cohort, query.aggregate_by)
