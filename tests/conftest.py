"""What all tests share: the engine, the pipelines, and the last lines that say what the tests ran on."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support.brokers import broker_kinds, stack_setting
from tests.support.engine import clickhouse, clickhouse_server, engine_kind
from tests.support.examples import load_profile
from tests.support.kustomize import real_program
from tests.support.nginx import nginx
from tests.support.pipeline import Pipeline, started_pipeline
from tests.support.promtool import promtool

__all__ = ["clickhouse", "clickhouse_server"]

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
# The order, by what shares a process of pytest-xdist. Faults take longest; beside them runs what asks an engine. Then come
# the pipelines, those that tests start for themselves beside the one that they share, and last of it what bounds how long
# something takes.
_FAULT, _ENGINE, _OWN_PIPELINES, _PIPELINE, _DEPLOY, _UNIT = range(6)
_START_THEIR_OWN = {
    "test_devstack_broker.py",
    "test_devstack_gateway.py",
    "test_devstack_supervisor.py",
    "test_event_log.py",
    "test_gateway_nginx.py",
    "test_kafka_internals.py",
    "test_kubernetes.py",
    "test_log_range.py",
    "test_restart.py",
    "test_secure_kafka.py",
    "test_secure_stack.py",
}
_TIMED = {"test_behaviour.py", "test_noisy_neighbour.py"}
# What these look at is the same on every broker: they run on the strongest.
_ON_ONE_BROKER = {
    "test_api_page.py",
    "test_console_comfort.py",
    "test_console_dashboards.py",
    "test_console_pages.py",
    "test_console_people.py",
    "test_console_queries.py",
    "test_docs_page.py",
    "test_documents.py",
    "test_noisy_neighbour.py",
    "test_openapi.py",
    "test_operator_view.py",
    "test_sdks.py",
    "test_sdks_browser.py",
    "test_sdks_quota.py",
}

load_profile()


def pytest_configure(config: pytest.Config) -> None:
    """SIGTERM ends the tests as Ctrl-C does: what they have started is stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_itemcollected(item: pytest.Item) -> None:
    """The folder is the tier, and its marker."""
    item.add_marker(item.path.relative_to(_TESTS).parts[0])


def _part_of(path: Path) -> int:
    """Of a test's file, from the folder of the tests on."""
    tier = path.parts[0]
    if tier == "pipeline":
        return _OWN_PIPELINES if path.name in _START_THEIR_OWN else _PIPELINE
    return {"fault": _FAULT, "load": _FAULT, "engine": _ENGINE, "deploy": _DEPLOY, "unit": _UNIT}[tier]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (_part_of(item.path.relative_to(_TESTS)), item.path.name in _TIMED))


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests run in one process of pytest-xdist: they share an engine. So do all faults, and each half of the
    pipelines: no more than two stacks of services run at a time.

    By names: `--dist loadgroup` of pytest-xdist 3.8 changes what pytest 9.2 does not look at.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if path.startswith("tests/engine/shards/"):
            return "shards"
        part = _part_of(Path(path).relative_to("tests"))
        return path if part in (_ENGINE, _DEPLOY, _UNIT) else f"part {part}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return ByFile(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pipeline" in metafunc.fixturenames:
        kinds, _ = broker_kinds()
        if metafunc.definition.path.name in _ON_ONE_BROKER:
            kinds = kinds[:1]
        metafunc.parametrize("pipeline", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The running pipeline on a broker; a test that asks for it runs once on each broker that is there."""
    kind: str = request.param
    with stack_setting(kind) as broker, started_pipeline(tmp_path_factory.mktemp(kind), broker) as running:
        yield running


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    if not any(_is_above_unit(report.nodeid) for report in reports):
        return
    from tests.support.browser import PROGRAM, chromium  # its library takes a while to load

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
        from tests.support.sdks.running import missing_because, missing_java_because

        for where, not_run in (("npm", missing_because()), ("Java", missing_java_because())):
            terminalreporter.line(f"SDKs of {where}: {f'NONE were run: {not_run}' if not_run else 'run'}")
    if weaker_because:
        terminalreporter.line(f"FALLBACK to the embedded broker: {weaker_because}")


def _is_above_unit(nodeid: str) -> bool:
    return not nodeid.startswith("tests/unit/")
