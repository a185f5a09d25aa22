"""Whether another way to answer a query came to the service's answer. Pure; raises AnswersDifferError.

Only of queries whose other way means the same: a comparable that answers something else is no measure of speed.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

_TOP = 10


class AnswersDifferError(Exception):
    """Says which number, and both sides."""


def same_funnel(answer: dict[str, Any], rows: Sequence[Sequence[Any]]) -> None:
    """`rows`: (steps that were taken, people); people without any may be among them."""
    reached = [(int(steps), int(people)) for steps, people in rows]
    for k, step in enumerate(answer["steps"], 1):
        _hold(f"people of step {k}", step["people"], sum(people for steps, people in reached if steps >= k))


def same_paths(answer: dict[str, Any], rows: Sequence[Sequence[Any]]) -> None:
    """`rows`: (names of a path behind its start, whether it goes on beyond, people), each path once."""
    came, ended, onward = Counter[tuple[str, ...]](), Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    children: dict[tuple[str, ...], set[str]] = {}
    for names, goes_on, people in rows:
        path = tuple(names)
        for depth in range(len(path) + 1):
            came[path[:depth]] += int(people)
        for depth, name in enumerate(path):
            children.setdefault(path[:depth], set()).add(name)
        (onward if goes_on else ended)[path] += int(people)

    def hold(node: dict[str, Any], path: tuple[str, ...]) -> None:
        where = " > ".join(("start", *path))
        ranked = sorted(children.get(path, ()), key=lambda name: (-came[*path, name], name))
        shown, rest = ranked[:_TOP], ranked[_TOP:]
        _hold(f"people at {where}", node["count"], came[path])
        _hold(f"people who stop at {where}", node["drop_off"], ended[path])
        _hold(f"people who go on beyond {where}", node["continued"], onward[path])
        _hold(f"people at the other children of {where}", node["other"], sum(came[*path, name] for name in rest))
        _hold(f"children of {where}", [child["event"] for child in node["children"]], shown)
        for child in node["children"]:
            hold(child, (*path, child["event"]))

    hold(answer, ())


def _hold(what: str, ours: object, theirs: object) -> None:
    if ours != theirs:
        raise AnswersDifferError(f"{what}: the service says {ours}, the other way {theirs}")
