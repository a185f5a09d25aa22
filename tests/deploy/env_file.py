"""Reads env files, and says what a complete one holds: a line a setting, with its default and its description."""

from pathlib import Path

from msgspec import Struct
from pydantic_settings import BaseSettings

from services.runtime.settings import ConsoleSettings, EdgeSettings, ProbeSettings, QuerySettings, WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PREFIX = "HEADRACE_"
SERVICES: dict[str, type[BaseSettings]] = {
    "edge": EdgeSettings,
    "worker": WorkerSettings,
    "query": QuerySettings,
    "console": ConsoleSettings,
    "probe": ProbeSettings,
}


class Line(Struct, frozen=True):
    """One variable. `comment` is the text of the comment lines right above it."""

    name: str
    value: str
    comment: str


def read_env(text: str) -> list[Line]:
    """The variables in order. Raises ValueError for a line that is neither a comment nor NAME=value."""
    lines: list[Line] = []
    comment: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
            continue
        if line:
            name, equals, value = line.partition("=")
            if not equals or not name.isidentifier() or value != value.strip():
                raise ValueError(f"line {number} is not NAME=value: {line!r}")
            lines.append(Line(name, value, " ".join(comment)))
        comment = []
    return lines


def settings_lines() -> dict[str, Line]:
    """Every setting of every service as the line that env.full has for it, by name."""
    lines = {}
    for settings in SERVICES.values():
        for name, field in settings.model_fields.items():
            variable = PREFIX + name.upper()
            lines[variable] = Line(variable, _written(field.default), field.description or "")
    return lines


def _written(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)
