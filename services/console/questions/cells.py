"""Which number of an answer: the API's `cell` <-> one parameter of the address, itself a query string."""

from typing import Any
from urllib.parse import parse_qsl

from services.console.questions.params import Pairs, Params
from services.console.questions.texts import json_text, value_of

Cell = dict[str, Any]
CELL = "cell"
# Short: a page has hundreds of them.
_NUMBERS = {"series": "s", "bucket": "b", "cohort": "c", "offset": "o", "step": "n"}


def read_cell(text: str) -> Cell:
    said = Params(parse_qsl(text, keep_blank_values=True))
    cell: Cell = {name: value_of(said.one(short)) for name, short in _NUMBERS.items() if said.all(short)}
    if said.all("l"):
        cell["line"] = {"kind": said.one("l")}
        if said.all("v"):
            cell["line"]["value"] = value_of(said.one("v"))
    if said.all("e"):
        cell["node"] = said.all("e")
    if said.all("p"):
        cell["part"] = said.one("p")
    return cell


def write_cell(cell: Cell) -> Pairs:
    pairs = [(short, str(cell[name])) for name, short in _NUMBERS.items() if name in cell]
    if "line" in cell:
        pairs.append(("l", cell["line"]["kind"]))
        if "value" in cell["line"]:
            pairs.append(("v", json_text(cell["line"]["value"])))
    pairs += [("e", name) for name in cell.get("node", [])]
    if "part" in cell:
        pairs.append(("p", cell["part"]))
    return pairs
