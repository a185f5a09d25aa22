"""ClickHouse as a bad network shows it to the workers, and ClickHouse that is away for long."""

import asyncio
import shutil
import time

from tests.fault.faults import Fault
from tests.fault.processes import until
from tests.fault.proxy import Mode, wait_for
from tests.fault.scene import Scene

_CATCH_S = 15.0
# The drain time-out of stack.py, and what Python and Faust need to end.
STOP_S = 25.0
# Two blocks, what Faust reads ahead, the index and Python itself. Without back-pressure it would be gigabytes.
WORKER_RSS_BYTES = 700 * 1024 * 1024
# From the middle of a long outage to its end. In a short one the buffers are still filling.
MAX_GROWTH = 1.1
LONG_S = 120
# What a disk may not have yet, and how long it takes to read ten minutes of the log again.
_TAIL_S = 20
_READ_AGAIN_S = 120.0
_YOUNG_S = 30.0


def _through_proxies(mode: Mode, longest_s: float) -> Fault:
    async def inject(scene: Scene) -> None:
        """On some workers' way to ClickHouse, or on all of them."""
        proxies = scene.rng.sample(scene.stack.proxies, scene.rng.randint(1, len(scene.stack.proxies)))
        for proxy in proxies:
            await proxy.set(mode, delay_s=scene.rng.uniform(0.5, 3))
        if mode not in (Mode.SLOW, Mode.REFUSE):
            caught = [asyncio.create_task(wait_for(proxy.caught, _CATCH_S)) for proxy in proxies]
            await asyncio.wait(caught, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*[_cancel(task) for task in caught])
        await asyncio.sleep(scene.rng.uniform(0.5, longest_s))
        for proxy in proxies:
            await proxy.set(Mode.PASS)

    return Fault(f"ClickHouse: {mode.value}", inject)


async def _cancel(task: asyncio.Task[bool]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def clickhouse_away(scene: Scene) -> None:
    """Under load: edges go on accepting, workers wait, their memory does not follow the lag; then they catch up."""
    stack = scene.stack
    accepted = scene.ledger.accepted
    await stack.kill_clickhouse()
    await _restarts_without_store(scene)
    halfway = []
    for _ in range(2):
        await asyncio.sleep(scene.away_s / 2)
        halfway.append(max(w.rss_bytes() for w in stack.workers))
    behind = scene.ledger.accepted - accepted
    # The load is several times as high; a busy machine brings less of it about.
    scene.check(behind > scene.away_s * 200, f"only {behind} events were accepted while ClickHouse was away")
    scene.check(halfway[1] < WORKER_RSS_BYTES, f"a worker grew to {halfway[1] >> 20} MiB")
    flat = scene.away_s < LONG_S or halfway[1] < MAX_GROWTH * halfway[0]
    scene.check(flat, f"the largest worker grew from {halfway[0] >> 20} to {halfway[1] >> 20} MiB in the outage")
    await stack.start_clickhouse()
    began_at, stored = time.monotonic(), await stack.count_stored()
    while await stack.count_rows() < accepted + behind or (now := await stack.count_stored()) < accepted + behind:
        await asyncio.sleep(0.5)
        if time.monotonic() - began_at > 60 + scene.away_s:
            scene.failures.append(f"fewer than {accepted + behind} stored {time.monotonic() - began_at:.0f} s later")
            return
    seconds = time.monotonic() - began_at
    scene.notes.append(
        f"ClickHouse away for {scene.away_s:.0f} s: {behind:,} events behind, caught up in {seconds:.1f} s "
        f"({(now - stored) / seconds:,.0f} events/s); largest worker {halfway[0] >> 20} MiB halfway, "
        f"{halfway[1] >> 20} MiB at the end"
    )


async def _restarts_without_store(scene: Scene) -> None:
    """One worker is killed and starts again; another is asked to stop: it must not wait for ClickHouse for ever."""
    killed, stopped = scene.rng.sample(scene.stack.workers, 2)
    await killed.kill()
    await killed.start()
    began_at = time.monotonic()
    await stopped.stop(timeout_s=STOP_S)
    seconds = time.monotonic() - began_at
    scene.check(seconds < STOP_S, f"{stopped.name} did not stop within {STOP_S:g} s while ClickHouse was away")
    await stopped.start()


STORE = tuple(
    _through_proxies(mode, longest_s)
    for mode, longest_s in (
        (Mode.SLOW, 5),
        (Mode.REFUSE, 5),
        (Mode.SWALLOW, 5),
        (Mode.CUT_BODY, 2),
        (Mode.CUT_ANSWER, 2),
        (Mode.HANG, 5),
    )
)
AWAY = (Fault("ClickHouse away", clickhouse_away),)


async def lose_tail(scene: Scene) -> None:
    """The machine of ClickHouse loses its power: parts of the last seconds were acknowledged and never reached the disk."""
    stack = scene.stack
    logs = {worker.name: worker.log.stat().st_size for worker in stack.workers}
    rows, paths = await _youngest_parts(scene)
    deadline = time.monotonic() + _YOUNG_S
    # A store that has just come back may have taken nothing yet.
    while not rows and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        rows, paths = await _youngest_parts(scene)
    await stack.kill_clickhouse()
    for path in paths:
        await asyncio.to_thread(shutil.rmtree, path)
    await stack.start_clickhouse()

    def read_again() -> bool:
        return all(b'"read_again"' in w.log.read_bytes()[logs[w.name] :] for w in stack.workers)

    await until(read_again, "all workers read the last minutes again", _READ_AGAIN_S)
    scene.check(rows > 0, "no part was young enough to be lost")
    scene.notes.append(f"{rows:,} rows in {len(paths)} parts were lost with the power")


async def _youngest_parts(scene: Scene) -> tuple[int, list[str]]:
    """Rows and folders of young parts of one insert: of a merged one, ClickHouse keeps those that it came of."""
    text = await scene.stack.sql(
        "SELECT rows, path FROM system.parts WHERE database = 'headrace' AND table = 'events' AND active "
        f"AND modification_time > now() - {_TAIL_S} AND min_block_number = max_block_number FORMAT TSV"
    )
    parts = [line.split("\t") for line in text.decode().splitlines()]
    return sum(int(rows) for rows, _ in parts), [path for _, path in parts]


TAIL = (Fault("ClickHouse loses its last seconds", lose_tail),)
