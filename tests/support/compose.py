"""Reads compose.yaml as Compose does, as far as it is used there: merged keys, variables, durations, ports."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}


class Variable(Struct, frozen=True):
    """A variable that compose.yaml reads. `default` is None where it must be set."""

    name: str
    default: str | None


def load_compose() -> dict[str, Any]:
    """The file, variables as they are written."""
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def variables_in(text: str) -> list[Variable]:
    return [
        Variable(found["name"], None if found["kind"] == "?" else found["rest"] or "")
        for found in _VARIABLE.finditer(text)
    ]


def substitute(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables. Raises KeyError for one that must be set and is not (or is empty)."""

    def value(found: re.Match[str]) -> str:
        given = values.get(found["name"], "")
        if given == "" and found["kind"] == "?":
            raise KeyError(found["name"])
        return given or found["rest"] or ""

    return _VARIABLE.sub(value, text)


def environment_of(service: dict[str, Any], values: Mapping[str, str]) -> dict[str, str]:
    return {name: substitute(str(value), values) for name, value in service.get("environment", {}).items()}


def seconds(duration: str) -> int:
    """`35s`, `1m30s`."""
    parts = re.findall(r"(\d+)([smh])", duration)
    assert "".join(number + unit for number, unit in parts) == duration, duration
    return sum(int(number) * _UNITS_S[unit] for number, unit in parts)
