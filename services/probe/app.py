"""The probe's composition root: rounds in the background, health and metrics over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
from starlette.applications import Starlette

from services.probe.rounds import Probe
from services.runtime.background import in_background
from services.runtime.environment import SettingsError
from services.runtime.http import operation_routes, serve
from services.runtime.logs import get_logger
from services.runtime.settings import ProbeSettings
from services.runtime.start import start_service

log = get_logger(__name__)
_REQUEST_TIMEOUT_S = 15.0
_DRAIN_S = 5


def create_app(settings: ProbeSettings) -> Starlette:
    """Ready when a round has ended, however it did."""
    client = httpx.AsyncClient(
        base_url=settings.probe_url,
        headers={"authorization": f"Bearer {settings.probe_key}"},
        timeout=_REQUEST_TIMEOUT_S,
    )
    probe = Probe(client, settings.probe_every_s, settings.probe_timeout_s)

    async def ready() -> dict[str, bool]:
        return {"round": probe.rounds > 0}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = in_background("probe", probe.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await client.aclose()

    return Starlette(routes=operation_routes(ready), lifespan=lifespan)


def main() -> None:
    settings = start_service(ProbeSettings, "probe")
    if not settings.probe_key:
        raise SettingsError(
            "HEADRACE_PROBE_KEY is missing: `headrace keys create --project probe` prints a key with both scopes"
        )
    log.info("probe_starting", url=settings.probe_url, host=settings.probe_host, port=settings.probe_port)
    serve(create_app(settings), settings.probe_host, settings.probe_port, _DRAIN_S, "probe")
