"""One build on the broker and the engine that both share: its own topics, database and keys, made by its own code."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType

from services.devstack.child_process import ChildProcess
from services.schema.roles import Role
from tests.bench.against.build import Build, BuildError
from tests.bench.load import LoadPlan
from tests.bench.loading import BurstLoad
from tests.bench.processes import Usage, tree_of, usage_of_groups
from tests.bench.stack import PROJECT, Pipeline, Stack, answers

_POLL_S = 0.2
_STORED_S = 120
_READY_S = 60
# What follows the last row in the worker; not its commit of offsets, which comes every second and costs next to nothing.
_SETTLE_S = 0.2
_MERGES_S = 30


class Installation(Pipeline):
    """Relies on the command line, the HTTP API, HEADRACE_ variables and the names of topic and table alone, because
    everything else may differ between builds. A context manager."""

    def __init__(self, stack: Stack, build: Build, name: str, partitions: int = 8) -> None:
        super().__init__(stack, name, partitions)
        self.build = build
        self.loads: dict[str, BurstLoad] = {}
        self._opened = ExitStack()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
        super().__exit__(kind, error, trace)

    @property
    def env(self) -> dict[str, str]:
        """Addresses only: other settings are the build's defaults, or those that the caller has set for both."""
        settings = {
            "KAFKA_BOOTSTRAP": self.kafka.kafka_bootstrap,
            "KAFKA_TOPIC_PREFIX": self.name,
            "KAFKA_PARTITIONS": str(self.partitions),
            "KAFKA_IDEMPOTENCE": str(self.kafka.kafka_idempotence),
            "CLICKHOUSE_DATABASE": self.database,
            "LOG_LEVEL": "warning",
            "WORKER_GROUP": f"{self.name}-worker",
            # It is held while its topic is filled.
            "WORKER_SESSION_TIMEOUT_S": "90",
        }
        return {f"HEADRACE_{name}": value for name, value in settings.items()} | self._admin | dict(self.build.env)

    @property
    def _admin(self) -> dict[str, str]:
        """Who may do what is known of this tree's services alone, so the services of both builds may do everything."""
        return self.stack.clickhouse.environment(Role.ADMIN)

    def services_command(self, *arguments: str) -> list[str]:
        return self.build.command(*arguments)

    async def _prepare(self) -> None:
        self.build.check()
        self._call("migrate")
        self.key = self._call("keys", "create", "--project", PROJECT).split()[-1]

    def _call(self, *arguments: str) -> str:
        command, env = self.build.command(*arguments), {**os.environ, **self.env}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
        if done.returncode != 0:
            raise BuildError(f"{self.build.commit}: `{' '.join(arguments)}` failed: {done.stderr.strip()[-600:]}")
        return done.stdout

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cores: set[int] | None = None,
        ready: Callable[[], bool] | None = None,
    ) -> ChildProcess:
        return super().start(name, command, env={**(env or {}), **self._admin}, cores=cores, ready=ready)

    def start_all(self, *, worker: bool) -> None:
        """An edge on the first core, and a worker where one is wanted; ready."""
        cores = {self.stack.cores[0]}
        self.start_edge(cores=cores)
        if worker:
            port = self.start_worker(cores=cores)
            self.children["worker"].wait_until(lambda: answers(port, "/health/ready"), _READY_S)
            self.sql("SYSTEM STOP MERGES events")

    def prepare_load(self, name: str, plan: LoadPlan) -> None:
        self.loads[name] = self._opened.enter_context(BurstLoad(plan, {self.stack.cores[1]}))

    @property
    def has_worker(self) -> bool:
        return "worker" in self.children

    def usage(self) -> Usage:
        """Of the services with all that they have started, of the engine and of the broker."""
        trees = {name: tree_of(pid) for name, pid in self.pids.items()}
        return usage_of_groups({**trees, **{name: [pid] for name, pid in self.stack.pids.items()}})

    @contextmanager
    def held(self, names: Collection[str] = ("edge", "worker")) -> Iterator[None]:
        """These services cost nothing meanwhile. Not for longer than Kafka waits for a silent consumer."""
        pids = [child.pid for name, child in self.children.items() if name in names]
        for pid in pids:
            os.killpg(pid, signal.SIGSTOP)
        yield
        for pid in pids:
            os.killpg(pid, signal.SIGCONT)

    def stop(self, name: str) -> None:
        """At once: one that is held would not hear that it should."""
        self.children.pop(name).kill()

    def wait_for_rows(self, events: int) -> None:
        """Until exactly so many are stored, no more. Raises RuntimeError."""
        deadline = time.monotonic() + _STORED_S
        while (rows := self.stored_rows()) < events:
            self.check_alive()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.build.commit}: {rows} of {events} events were stored after {_STORED_S} s")
            time.sleep(_POLL_S)
        time.sleep(_SETTLE_S)
        if (rows := self.stored_rows()) != events:
            raise RuntimeError(f"{self.build.commit}: {events} events were accepted, {rows} rows stored")

    def merge_once(self) -> None:
        """Merge all of the events into one part, and wait for what other tables have under way.

        Otherwise merges of them are held. When they run is the engine's choice: a turn would pay for none or for two.
        """
        self.sql("SYSTEM START MERGES events")
        self.sql("OPTIMIZE TABLE events FINAL")
        self.wait_for_merges(_MERGES_S)
        self.sql("SYSTEM STOP MERGES events")

    def empty(self) -> None:
        """Every turn begins with an empty table."""
        self.sql("TRUNCATE TABLE events")
