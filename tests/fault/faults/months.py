"""Batches whose events lie in many months: one block for ClickHouse becomes many parts, and may be torn on the way."""

import time
from datetime import UTC, datetime

from tests.fault.faults import Fault
from tests.fault.proxy import Mode, wait_for
from tests.fault.scene import Scene

_CATCH_S = 15.0


def _months(count: int) -> list[datetime]:
    """The last so many months, back to January 2000 at most."""
    now = datetime.now(UTC)
    newest = now.year * 12 + now.month - 1
    return [datetime(at // 12, at % 12 + 1, 1, tzinfo=UTC) for at in range(max(newest - count, 24000), newest)]


async def sixty_months(scene: Scene) -> None:
    """A batch with dates in 60 months, and with years that nobody means."""
    await scene.load.send_dated([*_months(60), datetime(2099, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
    await scene.load.send_too_old(datetime(1999, 12, 31, tzinfo=UTC))
    scene.dead_letters += 1


async def all_months(scene: Scene) -> None:
    """More months than one insert may have partitions."""
    await scene.load.send_dated(_months(1000))


async def months_and_kill_clickhouse(scene: Scene) -> None:
    """ClickHouse dies while it writes the parts of such a block: some are stored, some not."""
    rng, stack = scene.rng, scene.stack
    await scene.load.send_dated(_months(60) * 5)
    deadline = time.monotonic() + rng.uniform(0, 1.0)
    while time.monotonic() < deadline:
        await scene.load.send_dated(_months(60))
    await stack.kill_clickhouse()
    await stack.start_clickhouse()


async def months_and_kill_worker(scene: Scene) -> None:
    worker, proxy = await scene.busy_worker()
    await proxy.set(scene.rng.choice([Mode.SWALLOW, Mode.CUT_BODY, Mode.CUT_ANSWER]))
    await scene.load.send_dated(_months(60) * 5)
    await wait_for(proxy.caught, _CATCH_S)
    await worker.kill()
    await proxy.set(Mode.PASS)
    await worker.start()


MONTHS = (
    Fault("60 months and stray years", sixty_months),
    Fault("all months since 2000", all_months),
    Fault("60 months, ClickHouse killed", months_and_kill_clickhouse),
    Fault("60 months, worker killed", months_and_kill_worker),
)
