"""Kinds of panels of the Grafana board, and how they ask."""

from collections.abc import Mapping

from msgspec import Struct

# A value's word and its colour.
Words = Mapping[str, tuple[str, str]]
NO_WORDS: Words = {}
UP_OR_AWAY: Words = {"1": ("up", "green"), "0": ("away", "red")}
SEVERITIES: Words = {"critical": ("critical", "red"), "warning": ("warning", "orange")}

# What the board shows.
RANGE = "$__range"
# Grafana's unit of numbers as the reader's country writes them: 12,345.
SEPARATED = "locale"


class Panel(Struct, frozen=True, kw_only=True):
    """`queries` by legend, in a table by column. `limits`: orange and red begin there; `limits_of`: of one legend, None:
    green whatever it is. `units`: of columns that differ from `unit`. `texts`: what stands for the values of a column.
    `first`: the first columns of a table; `named`: what a label's column is called.

    `nothing` is said where there is no value, in the colour `nothing_is`. `hidden`: what a table does not show.
    `sorted_by`: the column of a table that its rows are sorted by, and whether the largest is first.
    """

    title: str
    says: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    unit: str = "short"
    limits: tuple[float, float] | None = None
    limits_of: Mapping[str, tuple[float, float] | None] = {}
    units: Mapping[str, str] = {}
    texts: Mapping[str, Mapping[str, str]] = {}
    first: tuple[str, ...] = ()
    named: Mapping[str, str] = {}
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
    width: int = 4,
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
        width=width,
        height=4,
    )


def graph(
    title: str, says: str, queries: Mapping[str, str], unit: str = "short", nothing: str = "no data", width: int = 12
) -> Panel:
    """`nothing` is what a series says that has no value: a quantile of no calls is none."""
    return Panel(title=title, says=says, queries=queries, unit=unit, nothing=nothing, width=width)


def table(title: str, says: str, queries: Mapping[str, str]) -> Panel:
    """One row a set of labels, one column a query: over the range that the board shows. The most is first."""
    most = (next(iter(queries)), True)
    return Panel(title=title, says=says, queries=queries, kind="table", unit=SEPARATED, nothing="none", sorted_by=most)


def grown(counter: str, over: str) -> str:
    """What a counter has grown by. Series that were born meanwhile have no increase: they count whole."""
    return f"(({counter} unless last_over_time({counter}[1h] offset {over})) or increase({counter}[{over}]))"


def a_second(counter: str) -> str:
    """By how much a counter grows now: over 15 minutes, and right from the second sample on. `rate` takes what is not
    there yet as nothing, and `deriv` knows no restart of a service, which a series of 15 minutes may have."""
    return f"((rate({counter}[15m]) and {counter} offset 15m) or deriv({counter}[15m]))"
