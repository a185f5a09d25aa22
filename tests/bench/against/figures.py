"""What a comparison makes of its turns: who goes first in each, medians, their ratio, and how far the turns spread."""

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Literal

from msgspec import Struct

Side = Literal["base", "this"]
SIDES: tuple[Side, Side] = ("base", "this")
# (part, figure) -> CPU microseconds an event.
Prices = Mapping[tuple[int, str], float]


class Figure(Struct, kw_only=True):
    """One figure of both builds. `ratio` is the median of `this` over the median of `base`. `quarter`, `middle` and
    `three_quarters` are the quartiles of the turns' own ratios. The lists hold one value a turn."""

    part: int
    name: str
    base_median: float
    this_median: float
    ratio: float
    quarter: float
    middle: float
    three_quarters: float
    base: list[float]
    this: list[float]


def order_of(turn: int) -> tuple[Side, Side]:
    """Base first in even turns, this build first in odd ones: what drifts evenly cancels out."""
    return SIDES if turn % 2 == 0 else (SIDES[1], SIDES[0])


def compare(part: int, name: str, base: Sequence[float], this: Sequence[float]) -> Figure:
    """Both hold one value a turn, in the same order. Raises ValueError without turns, or when their numbers differ."""
    ratios = [b / a for a, b in zip(base, this, strict=True)]
    if not ratios:
        raise ValueError(f"{name}: no turns to compare")
    quarter, middle, three_quarters = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Figure(
        part=part,
        name=name,
        base_median=median(base),
        this_median=median(this),
        ratio=median(this) / median(base),
        quarter=quarter,
        middle=middle,
        three_quarters=three_quarters,
        base=list(base),
        this=list(this),
    )


def compare_all(turns: Sequence[Mapping[Side, Prices]]) -> list[Figure]:
    """All figures that both builds have, in the order of the first turn."""
    names = [key for key in turns[0]["base"] if key in turns[0]["this"]]
    return [
        compare(part, name, *[[turn[side][part, name] for turn in turns] for side in SIDES]) for part, name in names
    ]


def parse_parts(text: str, known: Sequence[int]) -> list[int]:
    """'1,2,3' as numbers, in order and each once. Raises ValueError with what to write instead."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if not word.isdecimal() or int(word) not in known]
    if unknown or not words:
        offered = ",".join(map(str, known))
        raise ValueError(f"no part {', '.join(unknown) or 'given'}: name some of {offered}, with commas between them")
    return sorted({int(word) for word in words})
