"""What all tests share: their order, and the last lines that say what they ran on.

Every process of pytest-xdist loads this, and the one that leads them before it starts the others: what takes a while to
load is loaded where it is needed.
"""

import gc
import logging
import signal
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support.nginx import nginx
from tests.support.promtool import promtool

_BROKER_NAMES = {
    "environment": "Kafka at HEADRACE_TEST_KAFKA",
    "docker": "Apache Kafka in Docker",
    "apache": "Apache Kafka by Maven",
    "embedded": "the embedded broker (Tansu, in memory)",
}
_ENGINE_NAMES = {
    "environment": "ClickHouse at HEADRACE_TEST_CLICKHOUSE_URL",
    "docker": "ClickHouse in Docker",
    "shards": "development servers, a shard each (HEADRACE_TEST_SHARDS)",
    "development": "the development server (ClickHouse's engine from the wheel)",
}

_TESTS = Path(__file__).parent
# What runs on nothing but itself.
_ALONE = ("tests/unit/", "tests/slow/")
# The order, by what shares a process of pytest-xdist. Faults take longest, and pipelines; beside these two runs what asks an
# engine. Last of the pipelines comes what bounds how long something takes: by then there is less beside it.
_FAULT, _PIPELINE, _ENGINE, _DEPLOY, _SLOW, _UNIT = range(6)
_PARTS = {
    "fault": _FAULT,
    "load": _FAULT,
    "pipeline": _PIPELINE,
    "engine": _ENGINE,
    "deploy": _DEPLOY,
    "slow": _SLOW,
    "unit": _UNIT,
}
# Of the pipelines that tests start for themselves, so many that both take equally long.
_BEHIND_FAULTS = {"test_kafka_internals.py", "test_restart.py", "test_secure_kafka.py", "test_secure_stack.py"}
_START_THEIR_OWN = {
    "test_devstack_broker.py",
    "test_devstack_gateway.py",
    "test_devstack_supervisor.py",
    "test_event_log.py",
    "test_gateway_nginx.py",
    "test_kubernetes.py",
    "test_log_range.py",
}
_TIMED = {"test_behaviour.py", "test_noisy_neighbour.py"}


def pytest_configure(config: pytest.Config) -> None:
    """SIGTERM ends the tests as Ctrl-C does: what they have started is stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Once: pytest's own option sets it for each part of each test, and each time all loggers forget what they are to write.
    logging.getLogger().setLevel(logging.INFO)
    # httpx looks for this library with each request to an application in memory, in all folders where there are any.
    if find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]


@cache
def _tier_of(path: Path) -> str:
    return path.relative_to(_TESTS).parts[0]


def pytest_itemcollected(item: pytest.Item) -> None:
    """The folder is the tier, and its marker."""
    item.add_marker(_tier_of(item.path))


@cache
def _part_of(path: Path) -> int:
    """Of a test's file."""
    return _FAULT if path.name in _BEHIND_FAULTS else _PARTS[_tier_of(path)]


def _order_of(path: Path) -> tuple[int, int]:
    """The part, and the place in it."""
    part = _part_of(path)
    if part == _PIPELINE:
        return part, 0 if path.name in _START_THEIR_OWN else 2 if path.name in _TIMED else 1
    return part, int(path.name in _BEHIND_FAULTS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _order_of(item.path))


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests run in one process of pytest-xdist: they share an engine. So do all faults, and all pipelines: no more
    than two stacks of services run at a time.

    By names: `--dist loadgroup` of pytest-xdist 3.8 changes what pytest 9.2 does not look at.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _scope_of(nodeid.partition("::")[0])


@cache
def _scope_of(file: str) -> str:
    """Of the tests in a file: what has the same name runs in one process."""
    # These have an engine for all of them; those compile the console's templates, which takes longer than most tests.
    for folder in ("tests/engine/shards/", "tests/unit/console/"):
        if file.startswith(folder):
            return folder
    part = _part_of(_TESTS.parent / file)
    return file if part in (_ENGINE, _DEPLOY, _SLOW, _UNIT) else f"part {part}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return ByFile(config, log)


def pytest_collection(session: pytest.Session) -> None:
    """What is collected stays: to look for garbage among it takes a tenth of the time that collecting takes."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.enable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The process that leads the others has run no test: there is no garbage of tests to look for among its reports."""
    if session.config.getoption("numprocesses") and not hasattr(session.config, "workerinput"):
        gc.freeze()


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    if all(report.nodeid.startswith(_ALONE) for report in reports):
        return
    from tests.support.brokers import broker_kinds
    from tests.support.browser import PROGRAM, chromium
    from tests.support.engine import engine_kind
    from tests.support.kustomize import real_program

    kinds, weaker_because = broker_kinds()
    terminalreporter.section("what the tests ran on")
    terminalreporter.line("broker: " + " and ".join(_BROKER_NAMES[kind] for kind in kinds))
    terminalreporter.line("engine: " + _ENGINE_NAMES[engine_kind()])
    if any("/test_replicated_tables.py" in report.nodeid or "/test_cluster.py" in report.nodeid for report in reports):
        from tests.support.cluster import what_it_ran_on

        terminalreporter.line(f"ClickHouse cluster: {what_it_ran_on()}")
    missing = f"NONE: pages were not opened. Install chromium, or set {PROGRAM} to the path of one."
    terminalreporter.line("browser: " + (chromium() or missing))
    terminalreporter.line(
        "nginx: " + (nginx() or "NONE: the gateway's configuration was read, not run. Install nginx.")
    )
    terminalreporter.line(
        "promtool: " + (promtool() or "NONE: alarms and board were read, not run. Install prometheus.")
    )
    if any("/test_kustomize" in report.nodeid for report in reports):
        program = real_program()
        not_compared = "NONE: the renderer of the manifests was compared with nothing. Install kubectl."
        terminalreporter.line("kustomize: " + (" ".join(program) if program else not_compared))
    if any("tests/load/" in report.nodeid for report in terminalreporter.stats.get("skipped", ())):
        terminalreporter.line("containers under load: NOT RUN. Install Docker, and run `make load` once.")
    if any("/test_sdks" in report.nodeid for report in reports):
        from tests.support.sdks.running import missing_because, missing_go_because, missing_java_because

        reasons = {"npm": missing_because(), "Java": missing_java_because(), "Go": missing_go_because()}
        for where, not_run in reasons.items():
            terminalreporter.line(f"SDKs of {where}: {f'NONE were run: {not_run}' if not_run else 'run'}")
    if weaker_because:
        terminalreporter.line(f"FALLBACK to the embedded broker: {weaker_because}")
