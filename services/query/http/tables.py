"""Answers as tables, and tables as CSV (RFC 4180): one row a number or thing, so that a spreadsheet can group them as it likes.

Texts that a spreadsheet would take for a formula get an apostrophe before them.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from services.contract.api.catalog import CatalogProperty, CatalogResult
from services.contract.api.cohort import CohortResult
from services.contract.api.events import EventsResult
from services.contract.api.funnel import FunnelResult, FunnelStepResult
from services.contract.api.path import PathNode, PathResult
from services.contract.api.people import PeopleResult
from services.contract.api.retention import RetentionResult
from services.contract.api.trends import TrendsResult

Row = Sequence[Any]
# What a cell of a spreadsheet must not begin with; also in the wide forms that some programs take for the same.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class Table(msgspec.Struct, frozen=True):
    """`rows` are made when they are read."""

    columns: Sequence[str]
    rows: Iterable[Row]


def wants_csv(accept: str) -> bool:
    """Whether a table is wanted rather than JSON."""
    weights = dict(map(_weight, accept.lower().split(",")))
    csv_weight = weights.get("text/csv", 0.0)
    # The nearest name of JSON counts, whatever the others say.
    json_names = ("application/json", "application/*", "*/*")
    json_weight = next((weights[name] for name in json_names if name in weights), 0.0)
    return csv_weight > 0 and csv_weight >= json_weight


def _weight(part: str) -> tuple[str, float]:
    media, *parameters = (each.strip() for each in part.split(";"))
    given = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    try:
        return media, float(given)
    except ValueError:
        return media, 0.0


def table_of(kind: str, answer: Any) -> Table:
    """`kind` of a query, people or catalog. Where a window is compared, `window` says which one a row is of."""
    columns, rows_of = _TABLES[kind]
    before = getattr(answer, "previous", UNSET)
    if before is UNSET:
        return Table(columns, rows_of(answer))
    parts = (("current", answer), ("previous", before))
    return Table(("window", *columns), ((name, *row) for name, one in parts for row in rows_of(one)))


def csv_lines(table: Table) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    for row in _with_head(table):
        writer.writerow(row)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _with_head(table: Table) -> Iterator[Row]:
    yield table.columns
    for row in table.rows:
        yield [_cell(value) for value in row]


def _cell(value: Any) -> Any:
    """Numbers stay numbers. JSON is text."""
    if value is None or value is UNSET:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Raw):
        raw = bytes(value)
        if not raw.startswith(b'"'):
            return raw.decode()  # a number, which may begin with a minus; true, null, a list, an object
        text = msgspec.json.decode(raw, type=str)
    elif isinstance(value, str):
        text = value
    else:
        text = msgspec.json.encode(value).decode()
    # Some programs drop NUL when they read it.
    return f"'{text}" if text.lstrip("\0").startswith(_FORMULAS) else text


def _name(names: str | list[str] | UnsetType | None) -> Any:
    """Of an event: any one is `*`."""
    return "*" if names is None else names


def _events(answer: EventsResult) -> Iterator[Row]:
    for e in answer.events:
        times = (e.timestamp, e.received_at)
        yield e.event_id, e.event, e.distinct_id, e.person_id, *times, _json(e.properties), e.idempotency_key


def _json(value: Raw) -> str:
    return bytes(value).decode()


def _retention(answer: RetentionResult) -> Iterator[Row]:
    lines: list[tuple[str, Any, list[list[int]]]] = [("all", UNSET, answer.matrix)]
    if answer.breakdown is not UNSET:
        lines += [(line.kind, line.value, line.matrix) for line in answer.breakdown]
    for kind, value, matrix in lines:
        for i, numbers in enumerate(matrix):
            for j, people in enumerate(numbers):
                yield kind, value, answer.periods[i], answer.periods[i + j], j, people, answer.complete[i + j]


def _path(answer: PathResult) -> Iterator[Row]:
    yield [], _name(answer.root), answer.count, answer.drop_off, answer.continued, answer.other
    yield from _nodes(answer.children, [])


def _nodes(children: Iterable[PathNode], way: list[str]) -> Iterator[Row]:
    for node in children:
        here = [*way, node.event]
        yield here, node.event, node.count, node.drop_off, node.continued, node.other
        yield from _nodes(node.children, here)


def _funnel(answer: FunnelResult) -> Iterator[Row]:
    lines: list[tuple[str, Any, list[FunnelStepResult]]] = [("all", UNSET, answer.steps)]
    if answer.breakdown is not UNSET:
        lines += [(line.kind, line.value, line.steps) for line in answer.breakdown]
    for kind, value, steps in lines:
        for number, step in enumerate(steps, 1):
            shares = step.conversion_from_start, step.conversion_from_before
            times = step.median_seconds, step.p90_seconds
            yield kind, value, number, _name(step.event), step.people, step.drop_off, *shares, *times


def _trends(answer: TrendsResult) -> Iterator[Row]:
    for number, series in enumerate(answer.series):
        for line in series.lines:
            of_line = number, _name(series.event), series.measure, line.kind, line.value
            for period, complete, value in zip(answer.periods, answer.complete, line.values, strict=True):
                yield *of_line, period, value, complete


def _cohort(answer: CohortResult) -> Iterator[Row]:
    return ((person,) for person in answer.people)


def _people(answer: PeopleResult) -> Iterator[Row]:
    for person in answer.people:
        yield "person", person.person_id, person.traits
    for group in answer.groups or ():
        yield "group", group.group_key, group.traits


def _catalog(answer: CatalogResult) -> Iterator[Row]:
    for e in answer.events:
        yield "event", "", e.event, e.events, e.people, e.first_seen, e.last_seen, None, None, None
    if answer.properties is not UNSET:
        yield from _properties("property", answer.properties.event, answer.properties.properties)
    yield from _properties("trait", "", answer.people.traits)
    for group in answer.groups:
        yield "group", "", group.group_type, group.groups, None, None, None, None, None, None
        yield from _properties("group_trait", group.group_type, group.traits)


def _properties(kind: str, of: str, properties: Iterable[CatalogProperty]) -> Iterator[Row]:
    for one in properties:
        yield kind, of, one.name, None, None, None, None, one.share, one.types, [top.value for top in one.top]


_TABLES: Mapping[str, tuple[Sequence[str], Callable[[Any], Iterator[Row]]]] = {
    "events": (
        (
            *("event_id", "event", "distinct_id", "person_id", "timestamp", "received_at", "properties"),
            "idempotency_key",
        ),
        _events,
    ),
    "retention": (("line", "value", "cohort", "period", "offset", "people", "complete"), _retention),
    "path": (("path", "event", "count", "drop_off", "continued", "other"), _path),
    "funnel": (
        (
            *("line", "value", "step", "event", "people", "drop_off", "conversion_from_start"),
            *("conversion_from_before", "median_seconds", "p90_seconds"),
        ),
        _funnel,
    ),
    "trends": (("series", "event", "measure", "line", "value", "period", "number", "complete"), _trends),
    "cohort": (("person_id",), _cohort),
    "people": (("kind", "id", "traits"), _people),
    "catalog": (
        ("kind", "of", "name", "number", "people", "first_seen", "last_seen", "share", "types", "top"),
        _catalog,
    ),
}
