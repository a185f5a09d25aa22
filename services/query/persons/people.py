"""The people behind a number: the statement of the query itself, up to the point where it would count them."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from services.contract.api.fields import Cursor
from services.contract.api.people import DEFAULT_PAGE_LISTED, Cell, ListLimit, PeopleResult
from services.contract.api.validation import invalid_field
from services.query.execution.executor import QueryExecutor
from services.query.insights.cohort import CohortSpec, cohort_people_sql
from services.query.insights.funnel import FunnelSpec, funnel_people_sql
from services.query.insights.path import PathSpec, path_people_sql
from services.query.insights.registry import Asked
from services.query.insights.retention import RetentionSpec, retention_people_sql
from services.query.insights.trends import TrendsSpec, trend_people_sql
from services.query.persons.listed import listed_groups, listed_people
from services.query.persons.seen import seen_of
from services.query.request.breakdown import Breakdown
from services.query.request.cursor import Position, read_cursor, write_cursor
from services.query.request.decode import MAX_WARNINGS, decode, mended_body
from services.query.sql.parameters import Promoted

Statement = tuple[str, dict[str, Any]]

# What of a cell speaks of which kind's numbers.
_FIELDS = {
    "trends": {"series", "bucket", "line"},
    "retention": {"cohort", "offset", "line"},
    "funnel": {"step", "part", "line"},
    "path": {"node", "part"},
    "cohort": set[str](),
}
_PARTS = {"funnel": ("count", "drop_off"), "path": ("count", "drop_off", "continued", "other")}


class SentPeople(Struct, kw_only=True):
    """The body, with the query as it came."""

    query: Raw
    cell: Cell | None = None
    limit: ListLimit | None = None
    cursor: Cursor | None = None


class _SentCell(Struct):
    cell: dict[str, Raw] | None = None


class PeopleSpec(Struct, frozen=True):
    """`after`: the place of the last one of the page before."""

    asked: Asked
    cell: Cell
    limit: int
    after: int | None
    identity: bytes


def decode_people(body: bytes) -> tuple[SentPeople, list[str]]:
    """The body and the warnings. Raises ApiError."""
    sent, warnings = decode(body, SentPeople)
    of_cell = msgspec.json.decode(mended_body(body), type=_SentCell).cell or {}
    unknown = sorted(set(of_cell) - set(Cell.__struct_fields__))
    return sent, (warnings + [f"cell: unknown field `{name[:100]}` ignored" for name in unknown])[:MAX_WARNINGS]


def parse_people(sent: SentPeople, asked: Asked, query: Any, project_id: str) -> PeopleSpec:
    """`query`: as it was decoded. Raises ApiError for a number that its answer does not have."""
    cell = sent.cell or Cell()
    _check(cell, asked)
    identity = b"people" + msgspec.json.encode((project_id, asked.kind, query, cell))
    after = None if sent.cursor is None else int.from_bytes(read_cursor(sent.cursor, identity).id, "big")
    return PeopleSpec(asked, cell, sent.limit or DEFAULT_PAGE_LISTED, after, identity)


async def run_people(store: QueryExecutor, project_id: str, spec: PeopleSpec, promoted: Promoted) -> PeopleResult:
    members, parameters = people_sql(project_id, spec, promoted)
    group_type = _aggregate_by(spec.asked.spec)
    # A number's own size decides its place; a text's hash. One more than the limit: whether there is a next page.
    place = "toUInt128(unit)" if group_type is None else "toUInt128(reinterpretAsUInt128(sipHash128(unit)))"
    sorted_units = f"groupArraySortedIf({spec.limit + 1:d})(({place}, unit), {place} >= {{next:UInt128}})"
    after = -1 if spec.after is None else spec.after
    ((count, found),) = await store.rows(
        f"SELECT count(), {sorted_units} FROM ({members})", {"project": project_id, "next": after + 1, **parameters}
    )
    page = found[: spec.limit]
    units = [unit for _, unit in page]
    result = PeopleResult(count=count, people=[])
    if group_type is None:
        listed = await listed_people(store, project_id, units, seen_of(spec.asked.spec, spec.cell))
        result.people = [one.person for one in listed]
    else:
        result.groups = await listed_groups(store, project_id, group_type, units)
    if len(found) > len(page):
        last = Position(0, int(page[-1][0]).to_bytes(16, "big"))
        result.next_cursor = write_cursor(last, spec.identity)
    return result


def people_sql(project_id: str, people: PeopleSpec, promoted: Promoted) -> Statement:
    """One column, `unit`: people's hashes, or the keys of groups, each once."""
    spec, cell = people.asked.spec, people.cell
    line = None if cell.line is None or cell.line.kind == "all" else cell.line
    match spec:
        case TrendsSpec():
            series = spec.series[cell.series or 0]
            return trend_people_sql(project_id, spec, series, cell.bucket, line, promoted)
        case RetentionSpec():
            return retention_people_sql(project_id, spec, cell.cohort or 0, cell.offset or 0, line, promoted)
        case FunnelSpec():
            return funnel_people_sql(project_id, spec, cell.step or 1, cell.part == "drop_off", line, promoted)
        case PathSpec():
            return path_people_sql(project_id, spec, cell.node or [], cell.part or "count", promoted)
        case CohortSpec():
            return cohort_people_sql(project_id, spec, promoted)
    raise TypeError(type(spec))


def _check(cell: Cell, asked: Asked) -> None:
    kind, spec = asked.kind, asked.spec
    if kind not in _FIELDS:
        raise invalid_field("query.type", f"must be one of {', '.join(_FIELDS)}: `{kind}` counts nobody")
    for name in cell.__struct_fields__:
        if getattr(cell, name) is not None and name not in _FIELDS[kind]:
            raise invalid_field(f"cell.{name}", f"is nothing of `{kind}`: it takes {_listed(_FIELDS[kind])}")
    if kind == "trends":
        _below(cell.series, len(spec.series), "series")
        _below(cell.bucket, len(spec.starts), "bucket")
    elif kind == "retention":
        _below(cell.cohort, len(spec.starts), "cohort")
        _below(cell.offset, len(spec.starts) - (cell.cohort or 0), "offset")
    elif kind == "funnel":
        _below(None if cell.step is None else cell.step - 1, len(spec.steps), "step")
    elif kind == "path":
        _below(len(cell.node or []), spec.max_depth + 1, "node")
    if cell.part is not None and cell.part not in _PARTS[kind]:
        raise invalid_field("cell.part", f"must be one of {', '.join(_PARTS[kind])}")
    if cell.line is not None:
        _check_line(cell, getattr(spec, "breakdown", None))


def _check_line(cell: Cell, breakdown: Breakdown | None) -> None:
    line = cell.line
    if line is None or line.kind == "all":
        return
    if breakdown is None:
        raise invalid_field("cell.line", "belongs to a query with a `breakdown`")
    if line.kind == "value":
        if not isinstance(line.value, Raw):
            raise invalid_field("cell.line.value", "is missing: a line of the kind `value` has one")
        if breakdown.group_type is not None and not bytes(line.value).startswith(b'"'):
            raise invalid_field("cell.line.value", "must be the key of a group, a string")


def _below(place: int | None, number: int, name: str) -> None:
    if place is not None and place >= number:
        raise invalid_field(f"cell.{name}", f"is none of this answer's: it has {number}")


def _listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "no cell"


def _aggregate_by(spec: Any) -> str | None:
    segment = getattr(spec, "segment", None)
    return None if segment is None else segment.aggregate_by
