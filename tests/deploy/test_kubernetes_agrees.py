"""The manifests agree with the services: settings, times, sizes by the measured prices, addresses, who reaches whom."""

import os
import re
from pathlib import Path

import pytest
import typer.main
from msgspec import Struct

from services.cli.app import app
from services.contract.api.endpoints import BASE_PATH, INGEST_CALLS
from services.contract.api.openapi import CALLS
from services.contract.api.sdk import GET_PATHS, POST_PATHS
from services.runtime import settings as all_settings
from services.runtime.environment import Settings
from services.runtime.settings import ClickHouseSettings, EdgeSettings, QuerySettings, WorkerSettings
from services.schema.roles import Role
from tests.deploy.env_file import PREFIX, ROOT, settings_lines
from tests.support.manifests import (
    OVERLAYS,
    RUNNING,
    amount,
    container,
    environment,
    named,
    of_kind,
    pod,
    pre_stop_s,
    rendered,
    workload,
)

ROLES = {"edge": Role.EDGE, "worker": Role.WORKER, "query": Role.QUERY, "migrate": Role.ADMIN, "admin": Role.ADMIN}
KINDS: dict[str, type[Settings]] = {
    "edge": EdgeSettings,
    "worker": WorkerSettings,
    "query": QuerySettings,
    "migrate": ClickHouseSettings,
    "admin": EdgeSettings,
}
if hasattr(all_settings, "ConsoleSettings"):
    KINDS["console"] = all_settings.ConsoleSettings
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
every_service = pytest.mark.parametrize(
    ("overlay", "component"), [(overlay, one) for overlay in OVERLAYS for one in KINDS]
)


class Plan(Struct, frozen=True):
    """What an overlay is for: events a second at peaks, and as a mean over the dedupe window; µs of an edge for one."""

    peak: int
    mean: int
    edge_price: str


PLANS = {"small": Plan(1000, 190, "edge, single events"), "production": Plan(100_000, 100_000, "edge, batches")}


def settings_of(overlay: str, component: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Settings:
    """As the process reads them, with a secret behind each file."""
    for variable in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    secret = folder / "secret"
    secret.write_text("9f1c3e7ab2d84c60557e19afc3b2d7714e8a0c6d\n")
    for name, value in environment(overlay, component).items():
        monkeypatch.setenv(name, str(secret) if name.endswith(("PASSWORD_FILE", "SECRET_FILE")) else value)
    # What checks the file of a CA is another test's.
    monkeypatch.delenv("HEADRACE_KAFKA_CA_FILE", raising=False)
    return KINDS[component]()


@every_service
def test_settings_are_ones_that_there_are(
    overlay: str, component: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = settings_lines().keys() | {PREFIX + name.upper() for kind in KINDS.values() for name in kind.model_fields}
    names = {name for name in environment(overlay, component) if "CONSOLE" not in name or "console" in KINDS}
    assert {name.removesuffix("_FILE") if name not in known else name for name in names} <= known
    settings_of(overlay, component, monkeypatch, tmp_path)


@every_service
def test_a_service_listens_where_its_port_says(
    overlay: str, component: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if component not in RUNNING:
        assert "ports" not in container(overlay, component)
        return
    values = settings_of(overlay, component, monkeypatch, tmp_path).model_dump()
    assert values[f"{component}_host"] == "0.0.0.0"  # noqa: S104
    (port,) = container(overlay, component)["ports"]
    assert port["containerPort"] == values[f"{component}_port"]
    (of_service,) = named(rendered(overlay), "Service", f"headrace-{component}")["spec"]["ports"]
    assert of_service["port"] == values[f"{component}_port"]


@pytest.mark.parametrize("component", [*RUNNING, "migrate"])
def test_commands_are_commands_of_the_program(component: str) -> None:
    (command,) = container("small", component)["args"]
    known = getattr(typer.main.get_command(app), "commands")  # noqa: B009 (a typer group's; click types the base alone)
    assert command in known or (command == "console" and "console" not in KINDS)


@pytest.mark.parametrize("component", ROLES)
@every_overlay
def test_a_service_logs_in_to_clickhouse_as_its_own_user(overlay: str, component: str) -> None:
    values = environment(overlay, component)
    assert values["HEADRACE_CLICKHOUSE_USER"] == ROLES[component]
    mounts = [mount["mountPath"] for mount in container(overlay, component)["volumeMounts"]]
    for name, value in values.items():
        if name.endswith("_FILE") and value.startswith("/run/secrets/") and component in KINDS:
            needed = "KAFKA" not in name or component != "migrate"
            assert str(Path(value).parent) in mounts or not needed, f"{name} lies in no volume"


@pytest.mark.parametrize("component", [one for one in RUNNING if one in KINDS])
@every_overlay
def test_the_grace_period_covers_the_drain(
    overlay: str, component: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What comes before SIGTERM counts too."""
    values = settings_of(overlay, component, monkeypatch, tmp_path).model_dump()
    drain_s = values[f"{component}_drain_timeout_s"] + (values["edge_publish_timeout_s"] if component == "edge" else 0)
    grace_s = pod(overlay, component)["terminationGracePeriodSeconds"]
    assert grace_s >= pre_stop_s(container(overlay, component)) + drain_s + 5
    # Who routes to a pod hears of its end later than the pod does. Nobody routes to workers.
    assert pre_stop_s(container(overlay, component)) > 0 or component == "worker"


@every_overlay
def test_workers_have_names_of_their_own_and_time_to_come_back(overlay: str) -> None:
    assert environment(overlay, "worker", "headrace-worker-1")["HEADRACE_WORKER_INSTANCE_ID"] == "headrace-worker-1"
    # Kafka's own default is 45; a worker that comes back later has lost its partitions.
    session_s = int(environment(overlay, "worker")["HEADRACE_WORKER_SESSION_TIMEOUT_S"])
    assert 45 <= session_s <= 120
    assert workload(overlay, "worker")["spec"]["serviceName"] == "headrace-worker"


def prices() -> dict[str, float]:
    """µs of CPU an event, by part, of docs/capacity.md."""
    rows = re.findall(r"^\| ([^|*]+) \| ([\d.]+) \|", (ROOT / "docs" / "capacity.md").read_text(), re.MULTILINE)
    return {part.strip(): float(price) for part, price in rows}


def fewest(overlay: str, component: str) -> int:
    """Pods that run when little is to be done."""
    objects = rendered(overlay)
    for kind, field in (("HorizontalPodAutoscaler", "minReplicas"), ("ScaledObject", "minReplicaCount")):
        for one in of_kind(objects, kind):
            if one["spec"]["scaleTargetRef"]["name"] == f"headrace-{component}":
                return int(one["spec"][field])
    return int(workload(overlay, component)["spec"]["replicas"])


@every_overlay
def test_cores_are_asked_for_by_the_measured_prices(overlay: str) -> None:
    """Planned at half of their load, as docs/capacity.md does. And not five times as many, but for two of each."""
    plan = PLANS[overlay]
    for component, price in (("edge", prices()[plan.edge_price]), ("worker", prices()["worker"])):
        needed = plan.peak * price / 1e6 / 0.5
        pods, each = fewest(overlay, component), amount(container(overlay, component)["resources"]["requests"]["cpu"])
        assert each <= 1, "a process uses one core at most"
        assert needed <= pods * each, f"{component}: {needed:.2f} cores are needed"
        assert pods * each <= max(5 * needed, 2 * 0.2), component


@every_overlay
def test_the_ids_of_the_window_fit_into_the_fewest_workers(overlay: str) -> None:
    """22 bytes an id, and 60 % of a worker's memory for them."""
    hours = int(environment(overlay, "worker").get("HEADRACE_WORKER_DEDUPE_WINDOW_HOURS", 168))
    needed = PLANS[overlay].mean * hours * 3600 * 22
    memory = amount(container(overlay, "worker")["resources"]["limits"]["memory"])
    there = fewest(overlay, "worker") * 0.6 * memory
    assert needed <= there <= 2 * needed


@every_overlay
def test_there_are_never_more_workers_than_partitions(overlay: str) -> None:
    partitions = int(environment(overlay, "worker")["HEADRACE_KAFKA_PARTITIONS"])
    assert fewest(overlay, "worker") <= partitions
    for scaled in of_kind(rendered(overlay), "ScaledObject"):
        assert scaled["spec"]["maxReplicaCount"] <= partitions
        (trigger,) = scaled["spec"]["triggers"]
        assert trigger["metadata"]["allowIdleConsumers"] == "false"


def test_lag_is_that_of_our_workers() -> None:
    (scaled,) = of_kind(rendered("production"), "ScaledObject")
    values, (trigger,) = environment("production", "worker"), scaled["spec"]["triggers"]
    asked = trigger["metadata"]
    assert asked["bootstrapServers"] == values["HEADRACE_KAFKA_BOOTSTRAP"]
    assert (asked["consumerGroup"], asked["topic"]) == ("headrace-worker", "headrace.events")
    assert asked["sasl"] == values["HEADRACE_KAFKA_SASL_MECHANISM"].lower().replace("-", "_").replace("sha_", "sha")
    authentication = named(rendered("production"), "TriggerAuthentication", trigger["authenticationRef"]["name"])
    assert {one["parameter"] for one in authentication["spec"]["secretTargetRef"]} == {"username", "password", "ca"}


def test_what_scales_has_no_number_of_its_own() -> None:
    """Each `kubectl apply` would set it back."""
    scaled = [
        *of_kind(rendered("production"), "HorizontalPodAutoscaler"),
        *of_kind(rendered("production"), "ScaledObject"),
    ]
    targets = {one["spec"]["scaleTargetRef"]["name"].removeprefix("headrace-") for one in scaled}
    assert targets == {"edge", "query", "worker"}
    assert not [one for one in targets if "replicas" in workload("production", one)["spec"]]


@every_overlay
def test_topics_keep_what_is_acknowledged(overlay: str) -> None:
    values = environment(overlay, "edge")
    assert int(values["HEADRACE_KAFKA_REPLICATION"]) >= 3
    assert int(values["HEADRACE_KAFKA_MIN_INSYNC_REPLICAS"]) >= 2


def routed(overlay: str, path: str) -> str | None:
    """The service that the Ingress sends a path to: an exact path goes first, then the longest prefix, by parts."""
    (rule,) = named(rendered(overlay), "Ingress", "headrace")["spec"]["rules"]
    found = [
        (one["pathType"] == "Exact", len(one["path"]), one["backend"]["service"]["name"].removeprefix("headrace-"))
        for one in rule["http"]["paths"]
        if (one["path"] == path if one["pathType"] == "Exact" else f"{path}/".startswith(f"{one['path']}/"))
    ]
    return max(found)[2] if found else None


@every_overlay
def test_every_call_goes_to_the_service_that_answers_it(overlay: str) -> None:
    for call in CALLS:
        path = BASE_PATH + call.path.replace("{", "").replace("}", "")
        assert routed(overlay, path) == ("edge" if call in INGEST_CALLS else "query"), path
    for path in [path for paths in (*POST_PATHS.values(), *GET_PATHS.values()) for path in paths]:
        assert routed(overlay, path.replace("*", "a-key")) == "edge", path
        assert routed(overlay, path.replace("*", "a-key") + "/") == "edge", path
    for path, service in {"/": "console", "/console/live": "console", "/docs": "edge", "/openapi.json": "edge"}.items():
        assert routed(overlay, path) == service, path


@pytest.mark.parametrize("path", ["/metrics", "/health/live", "/health/ready", "/lag", "/v1", "/docsx"])
def test_what_is_for_operators_stays_inside(path: str) -> None:
    assert routed("production", path) is None


def test_the_ingress_has_a_certificate_for_its_host() -> None:
    spec = named(rendered("production"), "Ingress", "headrace")["spec"]
    assert [rule["host"] for rule in spec["rules"]] == spec["tls"][0]["hosts"]
    assert environment("production", "console")["HEADRACE_CONSOLE_API_URL"] == f"https://{spec['rules'][0]['host']}"
