"""Which number of an answer: the API's `cell` <-> one parameter of the address, itself a query string.

`said` is for readers alone: what the table calls the row that the number stands in.
"""

from typing import Any
from urllib.parse import parse_qsl

from services.console.queries.params import Pairs, Params
from services.console.queries.texts import json_text, text_of, value_of

Cell = dict[str, Any]
CELL = "cell"
# Short: a page has hundreds of them.
_SAID = "t"
_NUMBERS = {"series": "s", "bucket": "b", "cohort": "c", "offset": "o", "step": "n"}

_PARTS = {"drop_off": "went no further", "continued": "went on beyond", "other": "went elsewhere", "count": "all"}
_LINES = {"missing": "(not set)", "other": "(others)"}


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
        pairs.append(("p", str(cell["part"])))
    if cell.get("said"):
        pairs.append((_SAID, cell["said"]))
    return pairs


def said_of(text: str) -> list[str]:
    """For a heading: when, which line, which step, which part."""
    said, cell = Params(parse_qsl(text, keep_blank_values=True)), read_cell(text)
    parts = [said.one(_SAID)] if said.all(_SAID) else []
    if cell.get("offset"):
        parts.append(f"+{cell['offset']}")
    if "line" in cell:
        kind = str(cell["line"]["kind"])
        parts.append(text_of(cell["line"].get("value")) if kind == "value" else _LINES.get(kind, kind))
    if "step" in cell:
        parts.append(f"step {cell['step']}")
    if "node" in cell:
        parts.append(" → ".join(cell["node"]))
    if "part" in cell:
        parts.append(_PARTS.get(cell["part"], str(cell["part"])))
    return parts
