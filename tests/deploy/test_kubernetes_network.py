"""Who reaches whom under the NetworkPolicies of deploy/kubernetes."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import Struct

from tests.support.manifests import matches, of_kind, rendered

_NAMESPACE = "kubernetes.io/metadata.name"
_PORTS = {"http": {8001, 8002, 8003, 8004}}


class Peer(Struct, frozen=True):
    """A pod, by its namespace and its labels."""

    namespace: str
    labels: tuple[tuple[str, str], ...]


def pod_of(namespace: str, **labels: str) -> Peer:
    return Peer(namespace, tuple(labels.items()))


def ours(component: str) -> Peer:
    return Peer("headrace", (("app.kubernetes.io/name", "headrace"), ("app.kubernetes.io/component", component)))


KAFKA = Peer("headrace", (("strimzi.io/cluster", "headrace"),))
CLICKHOUSE = Peer("headrace", (("clickhouse.altinity.com/chi", "headrace"),))
DNS = Peer("kube-system", (("k8s-app", "kube-dns"),))
INGRESS, PROMETHEUS, STRANGER = pod_of("ingress-nginx"), pod_of("monitoring"), pod_of("default", app="anything")
NEIGHBOUR = pod_of("headrace", app="anything")


def may_connect(objects: list[dict[str, Any]], source: Peer, target: Peer, port: int) -> bool:
    """Both sides must allow it; a pod that no policy selects is free."""
    policies = of_kind(objects, "NetworkPolicy")
    return _allows(policies, "Egress", source, target, port) and _allows(policies, "Ingress", target, source, port)


def _allows(policies: list[dict[str, Any]], direction: str, of: Peer, other: Peer, port: int) -> bool:
    mine = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == of.namespace
        and direction in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], dict(of.labels))
    ]
    side, peers = direction.lower(), "from" if direction == "Ingress" else "to"
    rules = [rule for policy in mine for rule in policy["spec"].get(side, [])]
    return not mine or any(
        any(_is(peer, of.namespace, other) for peer in rule[peers])
        and any(_is_port(one, port) for one in rule["ports"])
        for rule in rules
    )


def _is(selector: Mapping[str, Any], namespace: str, peer: Peer) -> bool:
    assert set(selector) <= {"namespaceSelector", "podSelector"}
    if "namespaceSelector" in selector:
        in_namespace = matches(selector["namespaceSelector"], {_NAMESPACE: peer.namespace})
    else:
        in_namespace = peer.namespace == namespace
    return in_namespace and matches(selector.get("podSelector", {}), dict(peer.labels))


def _is_port(one: Mapping[str, Any], port: int) -> bool:
    return port in _PORTS.get(one["port"], {one["port"]})


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        (INGRESS, ours("edge"), 8001),
        (INGRESS, ours("query"), 8002),
        (INGRESS, ours("console"), 8004),
        (PROMETHEUS, ours("edge"), 8001),
        (PROMETHEUS, ours("worker"), 8003),
        (ours("console"), INGRESS, 443),
        *((ours(each), KAFKA, 9093) for each in ("edge", "worker", "query", "admin")),
        *((ours(each), CLICKHOUSE, 8123) for each in ("edge", "worker", "query", "migrate", "admin")),
        *((ours(each), DNS, 53) for each in ("edge", "worker", "query", "console", "migrate", "admin")),
    ],
)
def test_what_is_needed_is_allowed(source: Peer, target: Peer, port: int) -> None:
    for overlay in ("small", "production"):
        assert may_connect(rendered(overlay), source, target, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        (STRANGER, ours("edge"), 8001),
        (NEIGHBOUR, ours("edge"), 8001),
        (INGRESS, ours("worker"), 8003),
        (ours("edge"), ours("query"), 8002),
        (ours("console"), KAFKA, 9093),
        (ours("console"), CLICKHOUSE, 8123),
        (ours("migrate"), KAFKA, 9093),
        (ours("edge"), STRANGER, 443),
        (ours("worker"), CLICKHOUSE, 9000),
        (ours("query"), KAFKA, 9090),
    ],
)
def test_all_else_is_refused(source: Peer, target: Peer, port: int) -> None:
    for overlay in ("small", "production"):
        assert not may_connect(rendered(overlay), source, target, port)
