"""The edge's composition root: connects Kafka and ClickHouse (for the keys), puts the routes together."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from aiokafka.errors import KafkaError
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan

from services.contract.log.topics import Partitioning
from services.edge.event_log.kafka import KafkaEventLog
from services.edge.event_log.port import EventLog
from services.edge.http.body import Bodies
from services.edge.http.cors import CORS
from services.edge.http.direct import DirectCalls
from services.edge.http.quotas import Quotas
from services.edge.http.rate_limit import RateLimit
from services.edge.http.refused import LABELS
from services.edge.http.routes import EdgeRoutes
from services.edge.http.sdk import SdkCalls
from services.edge.http.traced import TracedCalls, TracedLog
from services.edge.http.usage import Usage
from services.edge.protocols.families import families_of
from services.edge.protocols.family import Options
from services.runtime.api_reference import api_reference_routes
from services.runtime.background import in_background
from services.runtime.byte_budget import ByteBudget
from services.runtime.clickhouse import ClickHouse, StoreError
from services.runtime.clock import utc_now
from services.runtime.connections import Connections
from services.runtime.http import exact_addresses, exception_handlers, operation_routes, serve
from services.runtime.kafka import topics_of
from services.runtime.keys import KeyCache
from services.runtime.known import KnownTopic
from services.runtime.logs import get_logger
from services.runtime.memory import keep_large_blocks
from services.runtime.partitioning import PartitioningError, agreed_partitioning
from services.runtime.retry import retry_until_done
from services.runtime.settings import EdgeSettings
from services.runtime.start import start_service
from services.runtime.traces import CURRENT, traces_of

log = get_logger(__name__)
_RETRY_S = 1.0


def create_app(settings: EdgeSettings, connections: Connections) -> ASGIApp:
    """The edge as an ASGI application. Takes requests at once; is ready when Kafka and the keys are there. `connections`: those
    that its requests come on."""
    store = ClickHouse(settings)
    traces = traces_of(settings, "edge")
    topic = topics_of(settings).events
    known = KnownTopic(settings)
    keys = KeyCache(store, settings.keys_refresh_s, known)
    rate_limit = RateLimit(
        settings.edge_rate_limit_events_s, settings.edge_rate_limit_requests_s, settings.edge_rate_limit_bytes_s
    )
    reading = ByteBudget(settings.edge_max_reading_bytes)
    bodies = Bodies(settings.edge_max_body_bytes, reading, rate_limit)
    event_log = KafkaEventLog(
        settings,
        lambda count: _agree(store, known, topic, count),
        more_to_come=bodies.are_under_way,
        clients=lambda: connections.count,
        trace=None if traces is None else CURRENT.get,
    )
    kept_in: EventLog = event_log if traces is None else TracedLog(event_log, traces)
    usage = Usage(LABELS)
    quotas = Quotas(store, usage, settings.edge_quota_events_day, utc_now)
    calls = EdgeRoutes(kept_in, keys, utc_now, rate_limit, bodies, quotas)
    options = Options(settings.edge_sdk_group_type, settings.edge_sdk_request_properties)
    sdks = families_of(settings.edge_sdk_families, options)

    def in_front(app: ASGIApp) -> ASGIApp:
        """The SDK surfaces: with none of them nothing is in front."""
        if not sdks:
            return app
        return SdkCalls(
            app,
            sdks,
            log=kept_in,
            keys=keys,
            clock=calls.clock,
            rate_limit=rate_limit,
            bodies=bodies,
            held=reading,
            quotas=quotas,
        )

    async def ready() -> dict[str, bool]:
        return {"kafka": await event_log.is_ready(), "keys": keys.loaded_at is not None}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        tasks = [
            in_background("event log", _start_log(event_log)),
            in_background("keys", keys.refresh_forever()),
            in_background("usage", usage.tell_forever()),
            in_background("quotas", quotas.run_forever()),
        ]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await event_log.stop()
        with suppress(StoreError):
            await quotas.write()
        await store.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)

    app = compose(calls, ready, lifespan, in_front)
    return app if traces is None else TracedCalls(app, traces)


def compose(
    calls: EdgeRoutes,
    ready: Callable[[], Awaitable[dict[str, bool]]],
    lifespan: Lifespan[Starlette] | None = None,
    in_front: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> DirectCalls:
    """The calls and the pages of operation as one application. `in_front` of what is no native call."""
    endpoints = calls.endpoints()
    app = Starlette(
        routes=[
            *[Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()],
            *operation_routes(ready),
            *api_reference_routes(),
        ],
        middleware=[CORS],
        exception_handlers=exception_handlers("edge"),
        lifespan=lifespan,
    )
    exact_addresses(app)
    return DirectCalls(in_front(app), endpoints)


async def _agree(store: ClickHouse, known: KnownTopic, topic: str, count: int) -> Partitioning:
    """Where ClickHouse is away, as it was before. Raises StoreError when nobody knows, KafkaError, PartitioningError."""
    try:
        spread = await agreed_partitioning(store, topic, count)
    except StoreError:
        before = await known.read_spread()
        if before is None or count < before.partitions:
            raise
        log.warning("partitions_of_before", partitions=before.partitions)
        return before
    try:
        await known.write_spread(spread)
    except (KafkaError, OSError, TimeoutError) as error:
        log.warning("partitions_not_kept", reason=repr(error))
    return spread


async def _start_log(event_log: KafkaEventLog) -> None:
    """Until Kafka answers, appends are refused and readiness is false."""
    failures = (KafkaError, OSError, StoreError, PartitioningError)
    await retry_until_done(event_log.start, failures, _RETRY_S, log, "event_log_not_ready")
    log.info("event_log_ready")


def _collect_rarely() -> None:
    """Look for cycles a hundred times less often: events make none, and each look walks over all requests under way."""
    gc.freeze()
    gc.set_threshold(70_000, 20, 20)


def _switch_often() -> None:
    """While a thread works on a large body, the loop gets Python back after a millisecond, not five."""
    sys.setswitchinterval(0.001)


def main() -> None:
    settings = start_service(EdgeSettings, "edge")
    keep_large_blocks()
    _collect_rarely()
    _switch_often()
    connections = Connections(settings.connection_limits())
    log.info("edge_starting", host=settings.edge_host, port=settings.edge_port)
    serve(
        create_app(settings, connections),
        settings.edge_host,
        settings.edge_port,
        settings.edge_drain_timeout_s,
        "edge",
        connections,
    )
