"""Kinds of panels of the Grafana board, and how they ask."""

from collections.abc import Mapping

from msgspec import Struct

# A value's word and its colour.
Words = Mapping[str, tuple[str, str]]
NO_WORDS: Words = {}
UP_OR_AWAY: Words = {"1": ("up", "green"), "0": ("away", "red")}
SEVERITIES: Words = {"critical": ("critical", "red"), "warning": ("warning", "orange")}


class Panel(Struct, frozen=True, kw_only=True):
    """`queries` by legend, in a table by column. `limits`: orange and red begin there; `limits_of`: of one legend.

    `nothing` is said where there is no value, in the colour `nothing_is`. `hidden`: what a table does not show.
    `sorted_by`: the column of a table that its rows are sorted by, and whether the largest is first.
    """

    title: str
    says: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    unit: str = "short"
    limits: tuple[float, float] | None = None
    limits_of: Mapping[str, tuple[float, float]] = {}
    words: Words = {}
    nothing: str = "no data"
    nothing_is: str = "text"
    hidden: tuple[str, ...] = ()
    sorted_by: tuple[str, bool] | None = None
    width: int = 12
    height: int = 8


def number(
    title: str,
    says: str,
    expr: str,
    unit: str = "short",
    limits: tuple[float, float] | None = None,
    nothing: str = "no worker",
    nothing_is: str = "red",
    words: Words = NO_WORDS,
) -> Panel:
    """The value of now. Where it is missing the panel is red: nobody is there who would say it."""
    return Panel(
        title=title,
        says=says,
        queries={"now": expr},
        kind="stat",
        unit=unit,
        limits=limits,
        words=words,
        nothing=nothing,
        nothing_is=nothing_is,
        width=4,
        height=4,
    )


def graph(title: str, says: str, queries: Mapping[str, str], unit: str = "short") -> Panel:
    return Panel(title=title, says=says, queries=queries, unit=unit)


def table(title: str, says: str, queries: Mapping[str, str]) -> Panel:
    """One row a set of labels, one column a query: over the range that the board shows. The most is first."""
    most = (next(iter(queries)), True)
    return Panel(title=title, says=says, queries=queries, kind="table", nothing="none", sorted_by=most)


def grown(counter: str, over: str) -> str:
    """What a counter has grown by. Series that were born meanwhile have no increase: they count whole."""
    return f"(({counter} unless last_over_time({counter}[1h] offset {over})) or increase({counter}[{over}]))"
