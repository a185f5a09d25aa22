"""The manifests are what Kubernetes takes, from the oldest version that is known here to the newest; pods have no
rights that they do not need."""

from typing import Any

import pytest

import services
from tests.deploy.custom_resources import unknown_fields
from tests.deploy.schemas import OF_OPERATORS, VERSIONS, schema_errors
from tests.support.manifests import (
    OVERLAYS,
    RUNNING,
    container,
    examples,
    matches,
    named,
    of_kind,
    pod,
    probe_port,
    rendered,
    workload,
)

COMPONENTS = (*RUNNING, "migrate", "admin")
every_pod = pytest.mark.parametrize(
    ("overlay", "component"), [(overlay, one) for overlay in OVERLAYS for one in COMPONENTS]
)
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
# Who logs in to Kafka, and as whom.
KAFKA_USERS = {"edge": "edge", "worker": "worker", "query": "query", "admin": "tools"}


def is_of_an_operator(one: dict[str, Any]) -> bool:
    return str(one["apiVersion"]).startswith(OF_OPERATORS)


@pytest.mark.parametrize("version", VERSIONS)
@every_overlay
def test_objects_meet_the_published_schemas(overlay: str, version: str) -> None:
    ours = [one for one in rendered(overlay) if not is_of_an_operator(one)]
    assert len(ours) > 20
    assert [error for one in ours for error in schema_errors(one, version)] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_refuse_what_is_wrong(version: str) -> None:
    """Else the test above would mean nothing."""
    (edge,) = [
        one for one in rendered("small") if one["kind"] == "Deployment" and one["metadata"]["name"].endswith("edge")
    ]
    edge["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    edge["spec"]["replicas"] = "two"
    assert len(list(schema_errors(edge, version))) == 2


@every_overlay
def test_objects_of_operators_have_fields_that_those_know(overlay: str) -> None:
    assert [error for one in rendered(overlay) if is_of_an_operator(one) for error in unknown_fields(one)] == []


def test_examples_have_fields_that_their_operators_know() -> None:
    assert {one["kind"] for one in examples()} >= {"Kafka", "KafkaNodePool", "KafkaUser", "ClickHouseInstallation"}
    assert [error for one in examples() for error in unknown_fields(one)] == []


def test_fields_that_operators_do_not_know_are_found() -> None:
    (scaled,) = of_kind(rendered("production"), "ScaledObject")
    scaled["spec"]["maxReplicas"] = 3
    scaled["spec"]["triggers"][0]["metadata"]["lagThreshold"] = 5
    assert len(list(unknown_fields(scaled))) == 2


@every_overlay
def test_no_secret_stands_in_the_manifests(overlay: str) -> None:
    objects = rendered(overlay)
    assert not of_kind(objects, "Secret")
    for config_map in of_kind(objects, "ConfigMap"):
        assert not [name for name in config_map["data"] if name.endswith(("PASSWORD", "SECRET"))]
    for component in COMPONENTS:
        for variable in container(overlay, component).get("env", []):
            assert not variable["name"].endswith(("PASSWORD", "SECRET")), "name a file: ..._FILE"
            assert "secretKeyRef" not in variable.get("valueFrom", {}), "an environment is easily shown"


@every_pod
def test_a_pod_mounts_its_own_secrets_and_no_others(overlay: str, component: str) -> None:
    mounted = {volume["secret"]["secretName"] for volume in pod(overlay, component)["volumes"] if "secret" in volume}
    wanted = {f"headrace-{'admin' if component == 'migrate' else component}"}
    if component in KAFKA_USERS:
        wanted |= {KAFKA_USERS[component], "headrace-cluster-ca-cert"}
    assert mounted == wanted
    for mount in container(overlay, component)["volumeMounts"]:
        assert mount.get("readOnly") is True or mount["mountPath"] == "/tmp"  # noqa: S108


@every_pod
def test_pods_have_no_rights_that_they_do_not_need(overlay: str, component: str) -> None:
    """What the Pod Security Standard `restricted` asks for, and a root file system that nobody can write to."""
    spec, one = pod(overlay, component), container(overlay, component)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(spec)
    assert all(set(volume) <= {"name", "secret", "emptyDir"} for volume in spec["volumes"])


@every_pod
def test_variables_of_services_do_not_read_as_settings(overlay: str, component: str) -> None:
    """A Service headrace-edge would set HEADRACE_EDGE_PORT=tcp://10.0.0.1:8001 in each pod."""
    assert pod(overlay, component)["enableServiceLinks"] is False


@every_pod
def test_containers_have_limits_and_an_image_of_this_version(overlay: str, component: str) -> None:
    one = container(overlay, component)
    assert one["resources"]["limits"]["memory"] == one["resources"]["requests"]["memory"]
    assert "cpu" in one["resources"]["requests"]
    assert one["image"].partition(":")[2] == services.__version__, "set newTag in the overlays"


@pytest.mark.parametrize("component", RUNNING)
@every_overlay
def test_probes_ask_where_the_process_listens(overlay: str, component: str) -> None:
    one = container(overlay, component)
    paths = {probe: one[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {
        "startupProbe": "/health/live",
        "readinessProbe": "/health/ready",
        "livenessProbe": "/health/live",
    }
    assert {probe_port(one, probe) for probe in paths} == {one["ports"][0]["containerPort"]}
    # A store that is away for minutes ends nobody.
    live = one["livenessProbe"]
    assert live["periodSeconds"] * live["failureThreshold"] >= 60


@pytest.mark.parametrize("component", RUNNING)
@every_overlay
def test_each_service_has_a_service_a_budget_and_is_spread(overlay: str, component: str) -> None:
    objects, labels = rendered(overlay), workload(overlay, component)["spec"]["template"]["metadata"]["labels"]
    assert matches(workload(overlay, component)["spec"]["selector"], labels)
    service = named(objects, "Service", f"headrace-{component}")
    assert matches({"matchLabels": service["spec"]["selector"]}, labels)
    assert service["spec"]["ports"][0]["targetPort"] == container(overlay, component)["ports"][0]["name"]
    budget = named(objects, "PodDisruptionBudget", f"headrace-{component}")
    assert matches(budget["spec"]["selector"], labels)
    assert budget["spec"]["maxUnavailable"] == 1
    spread = pod(overlay, component)["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert all(matches(each["labelSelector"], labels) for each in spread)


@pytest.mark.parametrize("component", ["edge", "query", "console"])
@every_overlay
def test_a_new_pod_is_ready_before_an_old_one_goes(overlay: str, component: str) -> None:
    assert workload(overlay, component)["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_prometheus_finds_every_service() -> None:
    objects = rendered("production")
    (monitor,) = of_kind(objects, "ServiceMonitor")
    for component in RUNNING:
        service = named(objects, "Service", f"headrace-{component}")
        assert matches(monitor["spec"]["selector"], service["metadata"]["labels"])
        assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
        assert service["metadata"]["namespace"] in monitor["spec"]["namespaceSelector"]["matchNames"]
