"""`python -m tests.bench.query.people`: a page of the people behind a number, beside the query that gave the number.

Whole requests in turns, on the history of `make bench-query`.
"""

import statistics
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from services.schema.roles import Role
from tests.bench.query.asking import Asker, query_service
from tests.bench.query.data import MERGED, open_data
from tests.bench.query.history import History
from tests.bench.query.queries import BY_PROPERTY, QUERIES

_QUERIES = {one.name: {"type": one.path.rpartition("/")[2], **one.body} for one in QUERIES}
_BY_PROPERTY = _QUERIES[BY_PROPERTY]
_VIEWS = {name: value for name, value in _BY_PROPERTY.items() if name != "breakdown"}
_OF_PEOPLE = {**_VIEWS, "series": [{"event": "page_viewed", "measure": "people"}]}
_LIMIT = 100


class _Case(Struct, frozen=True):
    """`line`: the place of the breakdown's line that is asked for."""

    name: str
    query: dict[str, Any]
    cell: dict[str, Any]
    line: int | None = None


_CASES = (
    _Case("trends, a day", _VIEWS, {"bucket": 3}),
    _Case("trends of people, a day", _OF_PEOPLE, {"bucket": 3}),
    _Case("trends by property in the text, a line's day", _BY_PROPERTY, {"bucket": 3}, line=0),
    _Case("trends by promoted property, a line's day", _QUERIES["trends, promoted property"], {"bucket": 3}, line=0),
    _Case("retention, a cell", _QUERIES["retention 31x31 days"], {"cohort": 2, "offset": 5}),
    _Case("funnel, step 3", _QUERIES["funnel of 5 steps"], {"step": 3}),
    _Case("path, a node", _QUERIES["path depth 5"], {"node": []}),
)


def main(
    events: Annotated[int, typer.Option(help="Events of the history.")] = 10_000_000,
    times: Annotated[int, typer.Option(help="How often each is asked, in turns.")] = 7,
    data: Annotated[Path, typer.Option(help="Kept between runs.")] = Path(".data/bench-query"),
) -> None:
    """Ask for a number, and for its people, in turns."""
    console = Console(width=110)
    table = Table("query, cell", "query, ms", "people, ms", "times", "people", title=f"{events:,} events")
    with (
        open_data(data / f"{events}", History(events, 1), console.print) as there,
        query_service(there.settings(MERGED), there.settings(MERGED, Role.ADMIN)) as asker,
    ):
        for case in _CASES:
            path, query = f"/query/{case.query['type']}", {k: v for k, v in case.query.items() if k != "type"}
            people = {"query": case.query, "cell": _cell(asker, case, path, query), "limit": _LIMIT}
            asked, of_people = [], []
            for _ in range(times):
                asked.append(asker.ask(path, query))
                of_people.append(asker.ask("/query/people", people))
            count = asker.answer["count"]
            one, other = statistics.median(asked), statistics.median(of_people)
            table.add_row(case.name, f"{one:.0f}", f"{other:.0f}", f"{other / one:.2f}", f"{count:,}")
    console.print(table)


def _cell(asker: Asker, case: _Case, path: str, query: dict[str, Any]) -> dict[str, Any]:
    """With the line as the answer has it."""
    if case.line is None:
        return case.cell
    asker.ask(path, query)
    line = asker.answer["series"][0]["lines"][case.line]
    return {**case.cell, "line": {"kind": line["kind"], "value": line["value"]}}


if __name__ == "__main__":
    typer.run(main)
