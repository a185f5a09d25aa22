"""The rendered manifests of deploy/kubernetes, and what Kubernetes makes of them."""

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.support.kustomize import Object, load_yaml, render

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
OVERLAYS = ("small", "production")
RUNNING = ("edge", "worker", "query", "console")
_MULTIPLES = {"": 1, "m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@cache
def _rendered(overlay: str) -> list[Object]:
    return render(KUBERNETES / "overlays" / overlay)


def rendered(overlay: str) -> list[Object]:
    """A copy: whoever changes it changes nobody else's."""
    return copy.deepcopy(_rendered(overlay))


@cache
def examples() -> list[Object]:
    return [one for path in sorted((KUBERNETES / "examples").glob("*.yaml")) for one in load_yaml(path)]


def named(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def workload(overlay: str, component: str) -> Object:
    kind = {"worker": "StatefulSet", "migrate": "Job"}.get(component, "Deployment")
    return named(_rendered(overlay), kind, f"headrace-{component}")


def pod(overlay: str, component: str) -> Object:
    found: Object = workload(overlay, component)["spec"]["template"]["spec"]
    return found


def container(overlay: str, component: str) -> Object:
    (found,) = pod(overlay, component)["containers"]
    return dict(found)


def environment(overlay: str, component: str, pod_name: str = "pod-0") -> dict[str, str]:
    """What the process finds: the ConfigMaps, then its own variables."""
    one = container(overlay, component)
    values: dict[str, str] = {}
    for source in one.get("envFrom", []):
        values |= named(_rendered(overlay), "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in one.get("env", []):
        values[variable["name"]] = variable["value"] if "value" in variable else _of_the_pod(variable, pod_name)
    return values


def _of_the_pod(variable: Object, pod_name: str) -> str:
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}, variable
    return pod_name


def amount(text: str) -> float:
    """Cores or bytes of a quantity, such as 200m or 2Gi."""
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * _MULTIPLES[unit]


def probe_port(one: Object, probe: str) -> int:
    """Of the named port that a probe asks at."""
    (port,) = [port["containerPort"] for port in one["ports"] if port["name"] == one[probe]["httpGet"]["port"]]
    return int(port)


def pre_stop_s(one: Object) -> int:
    """How long the container waits before it hears of its end."""
    if "lifecycle" not in one:
        return 0
    program, seconds = one["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    return int(seconds)


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a selector of labels is met. An empty one is met by all."""
    wanted = selector.get("matchLabels", {})
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In", each
        if labels.get(each["key"]) not in each["values"]:
            return False
    return all(labels.get(key) == value for key, value in wanted.items())
