"""Which number of an answer: the API's `cell` <-> parameters of the address, under `cell`."""

from typing import Any

from services.console.questions.params import Pairs, Params, under
from services.console.questions.texts import json_text, value_of

Cell = dict[str, Any]
_NUMBERS = ("series", "bucket", "cohort", "offset", "step")


def read_cell(params: Params) -> Cell:
    below = params.below("cell")
    cell: Cell = {name: value_of(below.one(name)) for name in _NUMBERS if below.one(name)}
    if below.one("line"):
        cell["line"] = {"kind": below.one("line")}
        if below.all("value"):
            cell["line"]["value"] = value_of(below.one("value"))
    if below.all("node"):
        cell["node"] = below.all("node")
    if below.one("part"):
        cell["part"] = below.one("part")
    return cell


def write_cell(cell: Cell) -> Pairs:
    pairs = [(name, str(cell[name])) for name in _NUMBERS if cell.get(name) is not None]
    line = cell.get("line")
    if line:
        pairs.append(("line", line["kind"]))
        if "value" in line:
            pairs.append(("value", json_text(line["value"])))
    pairs += [("node", name) for name in cell.get("node") or []]
    if cell.get("part"):
        pairs.append(("part", cell["part"]))
    return under("cell", pairs)
