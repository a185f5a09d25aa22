"""The query service's composition root: connects ClickHouse, puts the routes together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette

from services.query.catalog.builder import CatalogBuilder
from services.query.cohorts.repository import SavedCohorts
from services.query.dashboards.repository import Dashboards
from services.query.execution.executor import QueryExecutor
from services.query.execution.fingerprint import Fingerprints
from services.query.execution.kept_results import KeptResults
from services.query.execution.limits import Limits
from services.query.execution.materialized_columns import MaterializedColumns
from services.query.execution.missing_shards import MissingShards
from services.query.execution.project_facts import ProjectFacts
from services.query.execution.promoter import Promoter
from services.query.execution.store_size import StoreSize
from services.query.execution.turns import StoreTurns
from services.query.expiry.expiry import Expiry
from services.query.http.answers import Answers
from services.query.http.catalog import CatalogRoutes
from services.query.http.cohorts import CohortRoutes
from services.query.http.dashboards import DashboardRoutes
from services.query.http.live import LiveRoutes
from services.query.http.people import PeopleRoutes
from services.query.http.persons import PersonRoutes
from services.query.http.queries import QueryRoutes
from services.query.insights.runner import InsightRunner
from services.query.persons.deletion_log import DeletionLog, KafkaDeletionLog
from services.query.persons.deletion_queue import DeletionQueues
from services.query.persons.deletion_sweep import DeletionSweep
from services.query.persons.deletions import Deletions
from services.query.request.time_window import zone_names
from services.runtime.api_reference import api_reference_routes
from services.runtime.background import in_background
from services.runtime.byte_budget import ByteBudget
from services.runtime.clickhouse import ClickHouse
from services.runtime.clock import Clock, utc_now
from services.runtime.connections import Connections
from services.runtime.http import exact_addresses, exception_handlers, operation_routes, serve
from services.runtime.keys import KeyCache
from services.runtime.logs import get_logger
from services.runtime.settings import QuerySettings
from services.runtime.start import start_service
from services.runtime.store_version import LOWEST_VERSION, refuse_old_version
from services.schema.agreement import agree_with_schema

log = get_logger(__name__)


def create_app(settings: QuerySettings, clock: Clock = utc_now, event_log: DeletionLog | None = None) -> Starlette:
    """The query service as an ASGI application. Takes requests at once; is ready when ClickHouse and the keys are.

    `event_log`: Kafka, when it is not given.
    """
    store = ClickHouse(settings, lowest_version=LOWEST_VERSION)
    keys = KeyCache(store, settings.keys_refresh_s)
    limits = Limits.of(settings)
    facts = ProjectFacts(store, settings.keys_refresh_s)
    turns = StoreTurns(QueryExecutor(store, limits, facts), limits)
    answers = Answers(ByteBudget(settings.query_max_answers_bytes))
    columns = MaterializedColumns(store, settings.keys_refresh_s)
    promoter = Promoter(store, columns, settings.query_promote_up_to)
    fingerprints = Fingerprints(store)
    insights = InsightRunner(
        turns,
        columns,
        promoter,
        facts,
        fingerprints,
        KeptResults(settings.query_max_kept_bytes),
        MissingShards(store, skip=settings.query_skip_unavailable_shards),
    )
    cohorts = SavedCohorts(store, turns)
    saved = CohortRoutes(cohorts, answers, keys, clock)
    people = PeopleRoutes(insights, cohorts, answers, keys, clock)
    builder = CatalogBuilder(store, settings.query_catalog_every_s)
    catalog = CatalogRoutes(turns, builder, answers, keys)
    live = LiveRoutes(insights, answers, keys, clock)
    queries = QueryRoutes(insights, cohorts, answers, keys, clock)
    dashboards = DashboardRoutes(insights, cohorts, Dashboards(store, turns), answers, keys, clock)
    event_log = event_log or KafkaDeletionLog(settings)
    queues = DeletionQueues(store, event_log, clock, settings.query_deletions_pause_s)
    sweep = DeletionSweep(store, event_log, queues, settings.query_deletions_sweep_s)
    deletions = Deletions(store, turns, event_log, queues, settings.query_deletions_per_project)
    persons = PersonRoutes(turns, deletions, answers, keys, clock)

    async def ready() -> dict[str, bool]:
        return {"clickhouse": await store.ping(), "keys": keys.loaded_at is not None}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        zone_names()  # once, before the first request needs it
        # Connects as well, again and again until ClickHouse answers.
        working = [
            in_background("keys", keys.refresh_forever()),
            in_background("promoted properties", columns.refresh_forever()),
            in_background("promotion", promoter.run_forever()),
            in_background("facts of projects", facts.refresh_forever()),
            in_background("deletions", queues.run_forever()),
            in_background("sweep of deletions", sweep.run_forever()),
            in_background("catalog", builder.build_forever()),
            in_background("lists of cohorts", cohorts.sweep_forever()),
            in_background("expiry", Expiry(store, settings.events_retention_days, clock).run_forever()),
            in_background("size of the store", StoreSize(store).measure_forever()),
        ]
        yield
        for task in working:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await queues.stop()
        await event_log.stop()
        await store.close()

    app = Starlette(
        routes=[
            *queries.routes(),
            *people.routes(),
            *catalog.routes(),
            *live.routes(),
            *saved.routes(),
            *dashboards.routes(),
            *persons.routes(),
            *operation_routes(ready),
            *api_reference_routes(),
        ],
        exception_handlers=exception_handlers("query"),
        lifespan=lifespan,
    )
    exact_addresses(app)
    return app


def main() -> None:
    settings = start_service(QuerySettings, "query")
    asyncio.run(refuse_old_version(settings))
    asyncio.run(agree_with_schema(settings))
    log.info("query_starting", host=settings.query_host, port=settings.query_port)
    serve(
        create_app(settings),
        settings.query_host,
        settings.query_port,
        settings.query_drain_timeout_s,
        "query",
        Connections(settings.connection_limits()),
    )
