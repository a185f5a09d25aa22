"""The pages of docs/reference, written from the code: `make docs` runs this; tests/slow/docs/test_reference.py compares.
The Grafana board is written too: board.py.

Settings come from the settings classes, commands from typer's own tree, calls from the OpenAPI document, metrics from
what each service registers when it is imported, in a process of its own.
"""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import EnumType
from inspect import get_annotations
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import typer.main
from msgspec import Struct
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings
from typer.core import TyperArgument

from services import __version__
from services.cli.app import app
from services.contract.api.errors import ErrorCode
from services.contract.api.openapi import CALLS, openapi_document
from services.contract.api.sdk import FAMILIES, GET_PATHS, LOST, POST_PATHS
from services.runtime.settings import (
    ConsoleSettings,
    EdgeSettings,
    ProbeSettings,
    QuerySettings,
    StackSettings,
    WorkerSettings,
)
from tests.support import board

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
_NOTE = "<!-- Written by `make docs` from the code. Do not edit. -->\n"
_SETTINGS: dict[str, type[BaseSettings]] = {
    "edge": EdgeSettings,
    "worker": WorkerSettings,
    "query": QuerySettings,
    "console": ConsoleSettings,
    "probe": ProbeSettings,
    "`make run`": StackSettings,
}
_METRICS_OF = ("edge", "worker", "query", "console", "probe")
# A fork for each service, so that what all of them import is imported once. What counts without locks has other attributes
# than prometheus_client's own classes.
_LIST_METRICS = """
import importlib, json, os, sys
import aiokafka, numpy, services.cli.app
from prometheus_client import REGISTRY

def rows():
    for collector in REGISTRY._collector_to_names:
        if not type(collector).__module__.startswith(("prometheus_client.metrics", "services.")):
            continue
        for family in collector.collect():
            own = getattr(collector, "_labelnames", None)
            labels = own if own is not None else getattr(collector, "_labels", ())
            former = type(collector).__name__ == "FormerName"
            name = family.name + ("_total" if family.type == "counter" else "")
            yield [name, family.type, [] if former else list(labels), family.documentation]

for service in sys.argv[1:]:
    child = os.fork()
    if not child:
        importlib.import_module(f"services.{service}.app")
        print(json.dumps(sorted(rows())), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{service}: its metrics could not be listed")
"""


class MetricRow(Struct, array_like=True):
    """One metric as /metrics names it."""

    name: str
    type: str
    labels: list[str]
    help: str


def settings_page() -> str:
    """A section for each class of settings, a row for each variable."""
    readers: dict[type[BaseSettings], list[str]] = {}
    for service, settings in _SETTINGS.items():
        for one in reversed(settings.__mro__):
            if issubclass(one, BaseSettings) and one is not BaseSettings and get_annotations(one):
                readers.setdefault(one, []).append(service)
    sections = [
        f"## {_title(one)}\n\n{_first_line(one.__doc__)} Read by: {', '.join(services)}.\n\n{_settings_table(one)}"
        for one, services in readers.items()
    ]
    return _page(
        "Settings",
        "Every setting is an environment variable. A service reads its settings once, when it starts.\n"
        "It refuses to start with a value that is not allowed, and says which.\n"
        "`deploy/env.full` holds the settings of the services with their defaults.\n"
        "`HEADRACE_X_FILE` names a file that holds `HEADRACE_X`, for secrets; both together are an error.\n"
        "A name that begins with `HEADRACE_` and is no setting is warned about at the start.",
        sections,
    )


def _title(settings: type[BaseSettings]) -> str:
    return "`make run`" if settings is StackSettings else settings.__name__.removesuffix("Settings")


def _settings_table(settings: type[BaseSettings]) -> str:
    own = get_annotations(settings)
    rows = [
        (f"`{_variable(name, field)}`", _default(field), _allowed(field), field.description or "")
        for name, field in settings.model_fields.items()
        if name in own
    ]
    return _table(("variable", "default", "allowed", "meaning"), rows)


def _variable(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"HEADRACE_{name.upper()}"


def _default(field: FieldInfo) -> str:
    value = field.default
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`" if text else "empty"


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    limits = {type(limit).__name__: limit for limit in field.metadata}
    signs = (("Ge", "ge", "≥"), ("Gt", "gt", ">"), ("Le", "le", "≤"), ("Lt", "lt", "<"))
    said = [f"{sign} {getattr(limits[kind], at):,}" for kind, at, sign in signs if kind in limits]
    pattern = next((m.pattern for m in field.metadata if getattr(m, "pattern", None)), None)
    return " and ".join(said) or (f"`{pattern}`" if pattern else "")


def metrics_page() -> str:
    """A section for each service: what its own /metrics shows, besides the process's."""
    sections = [
        f"## {service.capitalize()}\n\n"
        + _table(
            ("metric", "type", "labels", "meaning"),
            [(f"`{m.name}`", m.type, ", ".join(f"`{label}`" for label in m.labels), m.help) for m in metrics],
        )
        for service, metrics in zip(_METRICS_OF, _list_metrics(), strict=True)
    ]
    return _page(
        "Metrics",
        "Each service serves its own metrics at `/metrics`, as Prometheus text.\n"
        "Beside these there are `process_*` and `python_*` of the process.\n"
        "A histogram has the series `_bucket`, `_sum` and `_count`.\n"
        "[Metrics and alarms](../how-to/metrics-and-alarms.md) says which to watch.",
        sections,
    )


def _list_metrics() -> list[list[MetricRow]]:
    """Of each service."""
    command = [sys.executable, "-c", _LIST_METRICS, *_METRICS_OF]
    done = subprocess.run(command, capture_output=True, check=True)  # noqa: S603 (our own interpreter and modules)
    return [msgspec.json.decode(line, type=list[MetricRow]) for line in done.stdout.splitlines()]


def cli_page() -> str:
    """A section for each command, groups before their members."""
    sections = [_command_section(name, command) for name, command in _commands("headrace", typer.main.get_command(app))]
    return _page(
        "The `headrace` command",
        "`make setup` installs it as `.venv/bin/headrace`. The image has it as its entry point.\n"
        "Commands that talk to Kafka or ClickHouse read the same [settings](settings.md) as the services.\n"
        "An error that can be mended is one line on standard error, with exit code 1.",
        sections,
    )


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for part, member in getattr(command, "commands", {}).items():
        yield from _commands(f"{name} {part}", member)


def _command_section(name: str, command: Any) -> str:
    members = [(f"`{name} {part}`", _first_line(m.help)) for part, m in getattr(command, "commands", {}).items()]
    arguments = [(_usage_of(p), _yes(p.required), _default_of(p), p.help or "") for p in command.params]
    parts = [f"## `{name}`", _fill(command.help or "")]
    if members:
        parts.append(_table(("command", "does"), members))
    if arguments:
        parts.append(_table(("argument", "required", "default", "meaning"), arguments))
    return "\n\n".join(parts)


def _usage_of(parameter: Any) -> str:
    if isinstance(parameter, TyperArgument):
        return f"`{str(parameter.name).upper()}`"
    annotation = parameter.type_descriptor.annotation
    kinds: list[Iterable[Any]] = [one for one in (annotation, *get_args(annotation)) if isinstance(one, EnumType)]
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return names + "".join(": " + ", ".join(f"`{_text(choice)}`" for choice in kind) for kind in kinds)


def _default_of(parameter: Any) -> str:
    default = parameter.default
    values = default if isinstance(default, list | tuple) else [default]
    return ", ".join(f"`{_text(value)}`" for value in values if value not in (None, False, ""))


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))


def errors_page() -> str:
    """A row for each code of the closed list."""
    calls = {code: [call.name for call in CALLS if code in call.errors] for code in ErrorCode}
    rows = [(f"`{code.code}`", str(code.status), code.meaning, _count(calls[code])) for code in ErrorCode]
    return _page(
        "Error codes",
        "Every answer with a status of 400 or above has one shape:\n\n"
        "```json\n"
        '{"error": {"code": "invalid_field", "message": "`limit`: expected ...", "field": "limit"}, "request_id": "..."}\n'
        "```\n\n"
        "`message` says what to change. `field` is the path of the field, `index` the place in a batch.\n"
        "A client may match on `code`: a code never changes its meaning. 429 and 503 carry `Retry-After`, in seconds.",
        [_table(("code", "status", "meaning", "calls"), rows)],
    )


def sdks_page() -> str:
    """A section for each family: its addresses, and what it loses."""
    sections = []
    for family in FAMILIES:
        addresses = sorted({*POST_PATHS[family], *GET_PATHS[family]})
        rows = [
            (
                f"`{path}`",
                ", ".join(m for m, paths in (("GET", GET_PATHS), ("POST", POST_PATHS)) if path in paths[family]),
            )
            for path in addresses
        ]
        lost = [(f"`{kind}`", meaning) for kind, meaning in LOST[family].items()]
        parts = [f"## {family.capitalize()}", _table(("address", "methods"), rows), _table(("lost", "is"), lost)]
        sections.append("\n\n".join(parts))
    return _page(
        "Addresses of SDKs",
        "The families of `HEADRACE_EDGE_SDK_FAMILIES` are answered at these addresses, with and without a slash at the end.\n"
        "`*` is the project key. What has no place in our messages is counted by `headrace_edge_sdk_lost_total`, whose labels\n"
        "are the family and the kinds below. How to use an SDK:\n"
        "[Segment, RudderStack, Jitsu](../how-to/sdk-segment.md), [PostHog](../how-to/sdk-posthog.md),\n"
        "[Amplitude](../how-to/sdk-amplitude.md), [Mixpanel](../how-to/sdk-mixpanel.md).",
        sections,
    )


def _count(names: Sequence[str]) -> str:
    if len(names) == len(CALLS):
        return "all"
    if len(names) > 6:
        return f"{len(names)} calls"
    return ", ".join(f"`{name}`" for name in names) or "any address"


def api_page() -> str:
    """A section for each call, then one for each type that bodies and results are made of."""
    document = msgspec.json.decode(openapi_document(__version__))
    calls = [
        _call_section(method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    types = [_type_section(name, schema) for name, schema in document["components"]["schemas"].items()]
    return _page(
        "HTTP calls",
        "`/docs` of the address that serves the calls shows the same in a browser, `/openapi.json` as OpenAPI 3.1.\n"
        "All calls take `Authorization: Bearer <project key>`. A key has the scopes `ingest`, `query`, or both.\n"
        "[Error codes](errors.md) have a page of their own.",
        [*calls, "# Types", *types],
    )


def _call_section(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"## `{method} {path}`", _fill(f"{operation['summary']} {operation['description']}")]
    if operation["parameters"]:
        rows = [
            (f"`{p['name']}`", p["in"], _yes(p["required"]), _described(p["schema"], p["description"]))
            for p in operation["parameters"]
        ]
        parts.append(_table(("parameter", "in", "required", "meaning"), rows))
    if "requestBody" in operation:
        parts.append(f"Body: {_type(_schema_of(operation['requestBody']))}.")
    media = [name for name in operation["responses"]["200"]["content"] if name != "application/json"]
    as_well = f" `{media[0]}` too." if len(media) == 1 and len(operation["responses"]["200"]["content"]) > 1 else ""
    parts.append(f"Result: {_type(_schema_of(operation['responses']['200']))}.{as_well}")
    example = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    if example is not None:
        parts.append(f"```json\n{json.dumps(example)}\n```")
    codes = [
        name
        for status, response in operation["responses"].items()
        if int(status) >= 400
        for name in response["description"].removeprefix("Error codes: ").split(", ")
    ]
    parts.append(_fill("Errors: " + ", ".join(f"`{code}`" for code in codes) + "."))
    return "\n\n".join(parts)


def _fill(text: str) -> str:
    """The text with lines of at most 118 characters, paragraph by paragraph."""
    return "\n\n".join(textwrap.fill(paragraph, 118, break_on_hyphens=False) for paragraph in text.split("\n\n"))


def _schema_of(content: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = next(iter(content["content"].values()))["schema"]
    return schema


def _type_section(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"`{field}`",
            _type(of) + _or_null(of, field in required),
            _yes(field in required),
            _described(of, _description(of)),
        )
        for field, of in schema.get("properties", {}).items()
    ]
    parts = [f"## {name}", _fill(schema.get("description", "")), _table(("field", "type", "required", "meaning"), rows)]
    return "\n\n".join(part for part in parts if part)


def _description(schema: Mapping[str, Any]) -> str:
    found: list[str] = [s["description"] for s in (schema, *schema.get("anyOf", ())) if "description" in s]
    return found[0] if found else ""


def _described(schema: Mapping[str, Any], description: str) -> str:
    """The description with what the schema limits."""
    limits = []
    for one in (schema, *schema.get("anyOf", ())):
        for low, high, unit in (("minLength", "maxLength", "characters"), ("minItems", "maxItems", "items")):
            if high in one:
                limits.append(f"{one.get(low, 0)} to {one[high]:,} {unit}")
        if "minimum" in one:
            limits.append(f"{one['minimum']:,} to {one['maximum']:,}" if "maximum" in one else f"≥ {one['minimum']}")
    return " ".join([description, *[f"({limit})" for limit in dict.fromkeys(limits)]]).strip()


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"] if one.get("type") != "null"))
    kind = schema.get("type", "any JSON")
    if isinstance(kind, list):
        return " or ".join(one for one in kind if one != "null")
    if kind == "array":
        return f"array of {_type(schema.get('items', {}))}"
    return str(schema.get("format") or kind)


def _or_null(schema: Mapping[str, Any], required: bool) -> str:
    """A field that is always there may be null; of one that may be absent, null says the same as absence."""
    return " or null" if required and any(one.get("type") == "null" for one in schema.get("anyOf", ())) else ""


def _yes(flag: object) -> str:
    return "yes" if flag else ""


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )


def _page(title: str, introduction: str, sections: Sequence[str]) -> str:
    return "\n\n".join([f"{_NOTE}\n# {title}", introduction, *sections]) + "\n"


# All pages by file name.
PAGES = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "cli.md": cli_page,
    "errors.md": errors_page,
    "api.md": api_page,
    "sdks.md": sdks_page,
}


def write() -> None:
    """Write all pages; pages that are no longer made go."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    for path in REFERENCE.glob("*.md"):
        if path.name not in PAGES:
            path.unlink()
    board.write()


if __name__ == "__main__":
    write()
