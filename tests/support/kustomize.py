"""Renders the kustomizations of deploy/kubernetes without kustomize: the few features that they use, and no others.

What it does not know it refuses, so that nothing is passed over. Where kustomize is there, a test compares the two.
"""

import copy
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

_FIELDS = {"apiVersion", "kind", "namespace", "resources", "images", "replicas", "configMapGenerator", "patches"}
_CLUSTER_WIDE = {"Namespace"}
_REPLICATED = {"Deployment", "StatefulSet"}
# What the elements of a list are told apart by, by the name of the list. Other lists are replaced as a whole, and so are
# all of kinds that are not Kubernetes' own.
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
}
_OWN_GROUPS = ("apps", "autoscaling", "batch", "networking.k8s.io", "policy")


class UnknownFeatureError(ValueError):
    """The kustomization asks for something that this renderer does not do."""


def real_program() -> list[str] | None:
    """The command that builds a folder, of kustomize or of kubectl, where one of them is there."""
    for name, verb in (("kustomize", "build"), ("kubectl", "kustomize")):
        if found := shutil.which(name):
            return [found, verb]
    return None


def render(folder: Path) -> list[Object]:
    """All objects of the kustomization in a folder, those of the kustomizations that it names included."""
    objects = _load(folder)
    return [_with_generated_names(one, objects) for one in objects]


def load_yaml(path: Path) -> list[Object]:
    """The documents of a file. Raises yaml.YAMLError, also where a key stands twice."""
    return [one for one in yaml.load_all(path.read_text(), Loader=_StrictLoader) if one is not None]


def _load(folder: Path) -> list[Object]:
    (spec,) = load_yaml(folder / "kustomization.yaml")
    _refuse_unknown(spec, _FIELDS, str(folder))
    objects = [one for name in spec.get("resources", []) for one in _resources(folder / name)]
    for generator in spec.get("configMapGenerator", []):
        _generate(objects, generator)
    for patch in spec.get("patches", []):
        _patch(folder, objects, patch)
    for one in objects:
        _set_namespace(one, spec.get("namespace"))
        _set_images(one, spec.get("images", []))
    for replicas in spec.get("replicas", []):
        _refuse_unknown(replicas, {"name", "count"}, "replicas")
        for one in _the_one(objects, replicas["name"], _REPLICATED):
            one["spec"]["replicas"] = replicas["count"]
    _refuse_twins(objects)
    return objects


def _resources(path: Path) -> list[Object]:
    return _load(path.resolve()) if path.is_dir() else load_yaml(path)


def _refuse_unknown(given: Object, known: set[str], where: str) -> None:
    if unknown := set(given) - known:
        raise UnknownFeatureError(f"{where}: {', '.join(sorted(unknown))}")


def _refuse_twins(objects: list[Object]) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    if twins := {name for name in names if names.count(name) > 1}:
        raise UnknownFeatureError(f"two objects have one name: {twins}")


def _the_one(objects: list[Object], name: str, kinds: set[str]) -> list[Object]:
    found = [one for one in objects if one["metadata"]["name"] == name and one["kind"] in kinds]
    if len(found) != 1:
        raise UnknownFeatureError(f"{len(found)} objects are called {name}")
    return found


def _set_namespace(one: Object, namespace: str | None) -> None:
    if namespace is None:
        return
    if one["kind"] == "Namespace":
        one["metadata"]["name"] = namespace
    elif one["kind"] not in _CLUSTER_WIDE:
        one["metadata"]["namespace"] = namespace


def _containers(one: Object) -> Iterator[Object]:
    spec: Object = one["spec"]["template"]["spec"] if one["kind"] in {*_REPLICATED, "Job"} else {}
    yield from (*spec.get("initContainers", []), *spec.get("containers", []))


def _set_images(one: Object, images: list[Object]) -> None:
    for image in images:
        _refuse_unknown(image, {"name", "newName", "newTag", "digest"}, "images")
        for container in _containers(one):
            if container["image"].partition(":")[0] == image["name"]:
                end = f"@{image['digest']}" if "digest" in image else f":{image['newTag']}"
                container["image"] = f"{image.get('newName', image['name'])}{end}"


def _generate(objects: list[Object], generator: Object) -> None:
    """`behavior: merge` adds to the ConfigMap that a base has generated."""
    _refuse_unknown(generator, {"name", "literals", "behavior"}, "configMapGenerator")
    data = dict(literal.split("=", 1) for literal in generator["literals"])
    behavior = generator.get("behavior", "create")
    if behavior == "merge":
        (one,) = _the_one(objects, generator["name"], {"ConfigMap"})
        one["data"].update(data)
    elif behavior == "create":
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}
        objects.append({**made, _GENERATED: True})
    else:
        raise UnknownFeatureError(f"behavior: {behavior}")


# Marks an object whose name is to get the hash of its content.
_GENERATED = "$generated"


def _with_generated_names(one: Object, objects: list[Object]) -> Object:
    """Its own name, and the names of ConfigMaps that its pods refer to."""
    names = {other["metadata"]["name"]: _hashed_name(other) for other in objects if _GENERATED in other}
    shown = copy.deepcopy({key: value for key, value in one.items() if key != _GENERATED})
    if _GENERATED in one:
        shown["metadata"]["name"] = names[one["metadata"]["name"]]
    for container in _containers(shown):
        for source in container.get("envFrom", []):
            _rename(source.get("configMapRef"), names)
        for variable in container.get("env", []):
            _rename(variable.get("valueFrom", {}).get("configMapKeyRef"), names)
    return shown


def _rename(reference: Object | None, names: dict[str, str]) -> None:
    if reference is not None:
        reference["name"] = names.get(reference["name"], reference["name"])


def _hashed_name(config_map: Object) -> str:
    """As kustomize does: SHA-256 of the content as JSON, ten digits without those that could make a word."""
    name = config_map["metadata"]["name"]
    # Kustomize leaves the name out of what it hashes.
    content = {"data": config_map["data"], "kind": "ConfigMap", "name": ""}
    text = json.dumps(content, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return f"{name}-{digest.translate(str.maketrans('013ae', 'ghkmt'))}"


def _patch(folder: Path, objects: list[Object], patch: Object) -> None:
    """A file with a part of an object, or operations on the object that `target` names."""
    if set(patch) == {"path"}:
        for part in load_yaml(folder / patch["path"]):
            (one,) = _the_one(objects, part["metadata"]["name"], {part["kind"]})
            one.update(_merged(one, part, own=one["apiVersion"].partition("/")[0] in ("v1", *_OWN_GROUPS)))
    elif set(patch) == {"target", "patch"} and set(patch["target"]) == {"kind", "name"}:
        (one,) = _the_one(objects, patch["target"]["name"], {patch["target"]["kind"]})
        for operation in yaml.safe_load(patch["patch"]):
            _operate(one, operation)
    else:
        raise UnknownFeatureError(f"a patch with {', '.join(sorted(patch))}")


def _operate(one: Any, operation: Object) -> None:
    """`add` and `replace` of a member of an object (RFC 6902)."""
    *way, last = operation["path"].removeprefix("/").split("/")
    for step in way:
        one = one[int(step)] if isinstance(one, list) else one[step]
    if operation["op"] not in ("add", "replace") or not isinstance(one, dict) or "~" in operation["path"]:
        raise UnknownFeatureError(f"the operation {operation}")
    one[last] = operation["value"]


def _merged(old: Any, new: Any, own: bool, name: str = "") -> Any:
    """A strategic merge: members of objects one by one, `null` takes one away, lists by their key or as a whole."""
    if isinstance(old, dict) and isinstance(new, dict):
        if directives := [key for key in new if key.startswith("$")]:
            raise UnknownFeatureError(f"in a patch: {directives}")
        members = {key: _merged(old.get(key), value, own, key) for key, value in new.items() if value is not None}
        return {key: value for key, value in {**old, **members}.items() if new.get(key, "") is not None}
    key = _MERGE_KEYS.get(name)
    if own and key is not None and isinstance(old, list) and isinstance(new, list):
        return _merged_lists(old, new, key)
    return copy.deepcopy(new)


def _merged_lists(old: list[Object], new: list[Object], key: str) -> list[Object]:
    """What is new comes first, as with kustomize."""
    parts = {part[key]: part for part in new}
    known = {one[key] for one in old}
    added = [copy.deepcopy(part) for part in new if part[key] not in known]
    return added + [_merged(one, parts.get(one[key], {}), own=True) for one in old]


class _StrictLoader(yaml.SafeLoader):
    """A key that stands twice is an error, not a value that is lost."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twins := {key for key in keys if keys.count(key) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"a key stands twice: {twins}", node.start_mark)
        return super().construct_mapping(node, deep)
