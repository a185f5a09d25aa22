"""Traces by OpenTelemetry, where HEADRACE_TRACES_ENDPOINT is set. The only module that imports its packages, which are an
extra of ours: `traces`. Nobody asks for a trace where there are none: whoever makes some is put around what it traces.

What is traced is decided when a request comes: a part of all, HEADRACE_TRACES_SAMPLE_RATIO. A caller's `traceparent` makes
our spans part of its trace, and does not decide whether there are any: strangers must not be able to ask for cost.
"""

import atexit
import re
import secrets
import socket
from collections.abc import Mapping
from contextvars import ContextVar
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from services import __version__
from services.runtime.environment import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

# As W3C's Trace Context has it: version, trace, parent, flags.
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
_PATH = "/v1/traces"
# So many spans wait at most; what comes beyond is not traced.
_MAX_WAITING = 2048
_EXPORT_EVERY_MS = 1000
_EXPORT_TIMEOUT_S = 5
_CLOSE_S = 3.0

# Of what is being worked on: the `traceparent` of its span. None: it is not traced.
CURRENT: ContextVar[bytes | None] = ContextVar("trace", default=None)


class Kind(NamedTuple):
    """Of spans, by OpenTelemetry's names."""

    name: str


SERVER, PRODUCER, CONSUMER = Kind("SERVER"), Kind("PRODUCER"), Kind("CONSUMER")


class Span(Protocol):
    """What a span of OpenTelemetry has, as far as it is used."""

    def set_attributes(self, attributes: Mapping[str, Any]) -> None: ...

    def end(self) -> None: ...


class TraceSettings(Protocol):
    """Those of the services that make traces."""

    @property
    def traces_endpoint(self) -> str: ...

    @property
    def traces_sample_ratio(self) -> float: ...


class Traces:
    """Makes spans and sends them in the background."""

    def __init__(self, exporter: "SpanExporter", ratio: float, service: str) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        resource = Resource.create(
            {
                "service.name": f"headrace-{service}",
                "service.version": __version__,
                "service.instance.id": socket.gethostname(),
            }
        )
        self._provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=_MAX_WAITING, schedule_delay_millis=_EXPORT_EVERY_MS)
        )
        self._tracer = self._provider.get_tracer("headrace", __version__)
        self._below = int(ratio * 2**64)
        self._is_closed = False
        atexit.register(self.close)

    def is_sampled(self, parent: bytes | None) -> bool:
        """By the number of the trace, so that all parts of one say the same; by chance where there is none yet."""
        found = _parsed(parent)
        number = int(found[1][16:], 16) if found else secrets.randbits(64)
        return number < self._below

    def begin(self, name: str, kind: Kind, parent: bytes | None = None, **attributes: str | int | float) -> Span:
        from opentelemetry import trace
        from opentelemetry.context import Context

        context = Context()
        if found := _parsed(parent):
            remote = trace.SpanContext(int(found[1], 16), int(found[2], 16), True, trace.TraceFlags(1))
            context = trace.set_span_in_context(trace.NonRecordingSpan(remote), context)
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        # Not the context of the process: whatever else is traced there is no parent of ours.
        return self._tracer.start_span(name, context, trace.SpanKind[kind.name], named)

    def parent_of(self, span: Span) -> bytes:
        """What a record carries so that spans become the span's children."""
        context = span.get_span_context()  # type: ignore[attr-defined]
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-01".encode()

    def flush(self) -> None:
        """Send what waits."""
        self._provider.force_flush()

    def close(self) -> None:
        """Send what waits, for so long as the end of a process may take: a collector that is away must not hold it up."""
        if not self._is_closed:
            self._is_closed = True
            last = Thread(target=self._provider.shutdown, name="traces", daemon=True)
            last.start()
            last.join(_CLOSE_S)


def _parsed(parent: bytes | None) -> re.Match[str] | None:
    return _TRACEPARENT.fullmatch(parent.decode("latin-1")) if parent else None


def traces_of(settings: TraceSettings, service: str) -> Traces | None:
    """None where no endpoint is set. Raises SettingsError where the packages are not installed."""
    if not settings.traces_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise SettingsError(
            "HEADRACE_TRACES_ENDPOINT needs packages that are not installed: install requirements/traces.txt, or build the "
            f"image with --build-arg REQUIREMENTS=traces; or leave the setting empty. ({error})"
        ) from error
    address = settings.traces_endpoint.rstrip("/")
    if not urlsplit(address).path:
        address += _PATH
    return Traces(OTLPSpanExporter(endpoint=address, timeout=_EXPORT_TIMEOUT_S), settings.traces_sample_ratio, service)
