"""Traces: which requests have one, whose child a span is, and that nothing of it is there where it is off."""

import ast
import re
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.runtime import traces as traces_module
from services.runtime.environment import SettingsError
from services.runtime.settings import EdgeSettings
from services.runtime.traces import CONSUMER, SERVER, Traces, traces_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{PARENT}-01".encode()


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def test_a_span_is_the_child_of_what_the_header_says(exporter: InMemorySpanExporter) -> None:
    traces = Traces(exporter, 1, "edge")
    outer = traces.begin("outer", SERVER, HEADER, http__route="/x", n=3)
    inner = traces.begin("inner", CONSUMER, traces.parent_of(outer))
    inner.end()
    outer.end()
    traces.close()
    first, second = exporter.get_finished_spans()
    assert (first.name, second.name) == ("inner", "outer")
    assert first.context is not None
    assert second.context is not None
    assert {f"{span.context.trace_id:032x}" for span in (first, second) if span.context} == {TRACE}
    assert second.parent is not None
    assert f"{second.parent.span_id:016x}" == PARENT
    assert first.parent is not None
    assert first.parent.span_id == second.context.span_id
    assert (first.kind.name, second.kind.name) == ("CONSUMER", "SERVER")
    assert dict(second.attributes or {}) == {"http.route": "/x", "n": 3}
    assert second.resource.attributes["service.name"] == "headrace-edge"


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01",
        b"00-" + b"1" * 32 + b"-" + b"0" * 16 + b"-01",
        HEADER.upper(),
        HEADER + b"-x",
        b"\xff" * 55,
        b"ff" + HEADER[2:],
    ],
)
def test_what_is_no_header_begins_a_trace(header: bytes | None, exporter: InMemorySpanExporter) -> None:
    traces = Traces(exporter, 1, "edge")
    traces.begin("a", SERVER, header).end()
    traces.close()
    (span,) = exporter.get_finished_spans()
    assert span.parent is None


def test_the_part_that_is_traced(exporter: InMemorySpanExporter) -> None:
    for ratio, least, most in ((0, 0, 0), (1, 1000, 1000), (0.2, 100, 300)):
        traces = Traces(exporter, ratio, "edge")
        assert least <= sum(traces.is_sampled(None) for _ in range(1000)) <= most
        traces.close()


def test_a_callers_flag_does_not_decide(exporter: InMemorySpanExporter) -> None:
    traces = Traces(exporter, 0.5, "edge")
    low, high = (f"00-{'1' * 16}{half}-{PARENT}-{{}}" for half in ("0" * 15 + "1", "f" * 16))
    for flag in ("00", "01"):
        assert traces.is_sampled(low.format(flag).encode())
        assert not traces.is_sampled(high.format(flag).encode())
    traces.close()


def test_without_an_endpoint_there_are_none() -> None:
    assert traces_of(EdgeSettings(), "edge") is None


def test_without_the_packages_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"install requirements/traces\.txt.*REQUIREMENTS=traces"):
        traces_of(EdgeSettings(traces_endpoint="http://127.0.0.1:4318"), "edge")


def test_services_that_make_none_load_none_of_the_packages() -> None:
    """Only this one module names them, and only in functions: what stands at its beginning is for the type checker."""
    services = Path(traces_module.__file__).parents[1]
    naming = [path for path in services.rglob("*.py") if re.search(r"(import|from) opentelemetry", path.read_text())]
    assert naming == [Path(traces_module.__file__)]
    for statement in ast.parse(naming[0].read_text()).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            assert "opentelemetry" not in ast.unparse(statement)
        elif isinstance(statement, ast.If):
            assert ast.unparse(statement.test) == "TYPE_CHECKING"
