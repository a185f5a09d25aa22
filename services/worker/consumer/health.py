"""The worker's health, lag and metrics, on Faust's own web server."""

from typing import Any

import faust
from faust.web import Request, Response, View

from services.runtime.clickhouse import ClickHouse
from services.runtime.metrics import render_metrics
from services.worker.consumer.lag import LagMeter


def add_health(app: faust.App, store: ClickHouse, lag: LagMeter) -> None:
    """/health/live; /health/ready: 503 unless ClickHouse answers and Kafka has assigned; /lag; /metrics."""

    @app.page("/health/live")
    async def live(self: View, request: Request) -> Response:
        return self.text("ok\n")

    @app.page("/health/ready")
    async def ready(self: View, request: Request) -> Response:
        measured = lag.records if lag.records is not None else await lag.measure()
        checks = {"store": await store.ping(), "assigned": measured is not None}
        ok = all(checks.values())
        return self.json({"ready": ok, "checks": checks}, status=200 if ok else 503)

    @app.page("/lag")
    async def behind(self: View, request: Request) -> Response:
        body: dict[str, Any] = {"records": await lag.measure()}
        return self.json(body)

    @app.page("/metrics")
    async def metrics(self: View, request: Request) -> Response:
        text, content_type = render_metrics()
        return self.bytes(text, headers={"Content-Type": content_type})
