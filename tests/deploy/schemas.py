"""What Kubernetes' published schemas have against an object."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from kubernetes_validate import utils
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from tests.support.kustomize import Object

VERSIONS = (utils.all_versions()[0], utils.all_versions()[-1])
# Groups whose schemas come with their operators, not with Kubernetes.
OF_OPERATORS = ("keda.sh", "monitoring.coreos.com", "kafka.strimzi.io", "clickhouse.altinity.com")


def schema_errors(one: Object, version: str) -> Iterator[str]:
    """What the published schema of this version has against an object; fields that it does not know among it."""
    group = one["apiVersion"].partition("/")[0].partition(".")[0]
    behind = one["apiVersion"].partition("/")[2]
    name = f"{one['kind'].lower()}-{group}-{behind}" if behind else f"{one['kind'].lower()}-{one['apiVersion']}"
    validator = _validator(name, version)
    for error in validator.iter_errors(one):
        yield f"{one['kind']} {one['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message}"


@cache
def _validator(name: str, version: str) -> Any:
    """kubernetes_validate.validate reads a megabyte of definitions for each object."""
    folder = f"kubernetes-json-schema/v{version}-local-strict"
    schema = Resource.from_contents(schema_contents(f"{folder}/{name}.json", version))
    return utils.jsonschema.validators.Draft202012Validator(
        schema.contents, registry=schema @ (_definitions(folder, version) @ Registry())
    )


@cache
def _definitions(folder: str, version: str) -> Any:
    return Resource.from_contents(schema_contents(f"{folder}/_definitions.json", version))
