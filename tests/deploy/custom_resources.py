"""The fields of operators' kinds that deploy/kubernetes uses, with their types, as the operators' CRDs have them.

Kubernetes drops fields that a CRD does not know, without a word: a misspelt one would be a setting that does not count.
"""

from collections.abc import Iterator
from typing import Any

# A type; a dictionary of fields; a list with what its elements are; a set with all words that are allowed. `dict` is
# any object, and `...` a part of a pod, which Kubernetes' own schema describes.
_LABELS = dict
_RESOURCES = {"requests": dict, "limits": dict}
_METADATA = {"name": str, "namespace": str, "labels": _LABELS, "annotations": dict}
_TARGET = {"apiVersion": str, "kind": str, "name": str, "envSourceContainerName": str}
_SELECTOR = {"matchLabels": _LABELS, "matchExpressions": list}
_SCALING = {
    "stabilizationWindowSeconds": int,
    "selectPolicy": str,
    "policies": [{"type": {"Pods", "Percent"}, "value": int, "periodSeconds": int}],
}
# All are texts to KEDA, also numbers and booleans.
_KAFKA_TRIGGER = dict.fromkeys(
    (
        "bootstrapServers",
        "consumerGroup",
        "topic",
        "lagThreshold",
        "activationLagThreshold",
        "offsetResetPolicy",
        "allowIdleConsumers",
        "limitToPartitionsWithLag",
        "excludePersistentLag",
        "scaleToZeroOnInvalidOffset",
        "version",
        "sasl",
        "tls",
    ),
    str,
)
_TYPES: dict[str, Any] = {
    "keda.sh/v1alpha1 ScaledObject": {
        "scaleTargetRef": _TARGET,
        "pollingInterval": int,
        "cooldownPeriod": int,
        "minReplicaCount": int,
        "maxReplicaCount": int,
        "advanced": {
            "restoreToOriginalReplicaCount": bool,
            "horizontalPodAutoscalerConfig": {"name": str, "behavior": {"scaleUp": _SCALING, "scaleDown": _SCALING}},
        },
        "triggers": [{"type": {"kafka"}, "metadata": _KAFKA_TRIGGER, "authenticationRef": {"name": str, "kind": str}}],
    },
    "keda.sh/v1alpha1 TriggerAuthentication": {"secretTargetRef": [{"parameter": str, "name": str, "key": str}]},
    "monitoring.coreos.com/v1 ServiceMonitor": {
        "selector": _SELECTOR,
        "namespaceSelector": {"any": bool, "matchNames": [str]},
        "endpoints": [{"port": str, "path": str, "interval": str, "scrapeTimeout": str, "scheme": str}],
    },
    "kafka.strimzi.io/v1 Kafka": {
        "kafka": {
            "version": str,
            "metadataVersion": str,
            "listeners": [
                {
                    "name": str,
                    "port": int,
                    "type": {"internal", "cluster-ip"},
                    "tls": bool,
                    "authentication": {"type": {"scram-sha-512", "tls"}},
                    "networkPolicyPeers": [{"podSelector": _SELECTOR, "namespaceSelector": _SELECTOR}],
                }
            ],
            "authorization": {"type": {"simple"}, "superUsers": [str]},
            "rack": {"topologyKey": str},
            "config": dict,
            "template": {"pod": {"terminationGracePeriodSeconds": int, "securityContext": dict}},
        },
        "entityOperator": {"userOperator": dict, "topicOperator": dict},
    },
    "kafka.strimzi.io/v1 KafkaNodePool": {
        "replicas": int,
        "roles": [{"controller", "broker"}],
        "storage": {
            "type": {"jbod"},
            "volumes": [
                {
                    "id": int,
                    "type": {"persistent-claim", "ephemeral"},
                    "size": str,
                    "class": str,
                    "kraftMetadata": {"shared"},
                    "deleteClaim": bool,
                }
            ],
        },
        "resources": _RESOURCES,
        "jvmOptions": {"-Xms": str, "-Xmx": str},
    },
    "kafka.strimzi.io/v1 KafkaUser": {
        "authentication": {"type": {"scram-sha-512", "tls", "tls-external"}},
        "authorization": {
            "type": {"simple"},
            "acls": [
                {
                    "resource": {
                        "type": {"topic", "group", "cluster", "transactionalId"},
                        "name": str,
                        "patternType": {"literal", "prefix"},
                    },
                    "operations": [{"Read", "Write", "Create", "Describe", "DescribeConfigs"}],
                    "host": str,
                }
            ],
        },
    },
    "clickhouse.altinity.com/v1 ClickHouseInstallation": {
        "defaults": {"templates": {"podTemplate": str, "dataVolumeClaimTemplate": str, "logVolumeClaimTemplate": str}},
        "configuration": {
            "clusters": [{"name": str, "layout": {"shardsCount": int, "replicasCount": int}}],
            "files": dict,
            "settings": dict,
            "users": dict,
        },
        "templates": {
            "podTemplates": [{"name": str, "spec": ...}],
            "volumeClaimTemplates": [
                {
                    "name": str,
                    "reclaimPolicy": {"Retain", "Delete"},
                    "spec": {"accessModes": [str], "resources": _RESOURCES, "storageClassName": str},
                }
            ],
        },
    },
}


def unknown_fields(one: dict[str, Any]) -> Iterator[str]:
    """What is wrong with an object of an operator's kind, by the place where it is."""
    kind = f"{one['apiVersion']} {one['kind']}"
    known = {"apiVersion": str, "kind": str, "metadata": _METADATA, "spec": _TYPES[kind]}
    yield from _wrong(one, known, f"{one['kind']} {one['metadata']['name']}")


def _wrong(value: Any, known: Any, where: str) -> Iterator[str]:
    if known is ...:
        return
    if isinstance(known, dict):
        if not isinstance(value, dict):
            yield f"{where}: an object is expected"
            return
        for name, member in value.items():
            if name in known:
                yield from _wrong(member, known[name], f"{where}.{name}")
            else:
                yield f"{where}: there is no field {name}"
    elif isinstance(known, list):
        if not isinstance(value, list):
            yield f"{where}: a list is expected"
            return
        for number, element in enumerate(value):
            yield from _wrong(element, known[0], f"{where}[{number}]")
    elif isinstance(known, set):
        if value not in known:
            yield f"{where}: {value} is none of {sorted(known)}"
    elif not isinstance(value, known) or (known is int and isinstance(value, bool)):
        yield f"{where}: {value!r} is no {known.__name__}"
