"""The renderer of the tests does what kustomize does, and refuses what it does not know."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.kustomize import UnknownFeatureError, real_program, render
from tests.support.manifests import KUBERNETES, OVERLAYS

PROGRAM = real_program()


@pytest.mark.skipif(PROGRAM is None, reason="neither kustomize nor kubectl is on PATH: nothing to compare with")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_renders_the_same(overlay: str) -> None:
    assert PROGRAM is not None
    folder = KUBERNETES / "overlays" / overlay
    done = subprocess.run(  # noqa: S603 a program of the machine, on our own files
        [*PROGRAM, str(folder)], capture_output=True, text=True, check=True
    )
    theirs = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}
    ours = {(one["kind"], one["metadata"]["name"]): one for one in render(folder)}
    assert ours == theirs


def write(folder: Path, kustomization: str, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "kustomization.yaml").write_text(kustomization)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


POD = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {containers: %s}}}\n"


def test_a_patch_merges_by_name_and_null_takes_away(tmp_path: Path) -> None:
    base = POD % "[{name: x, image: i, env: [{name: A, value: '1'}, {name: B, value: '2'}]}]"
    patch = POD % "[{name: x, image: null, env: [{name: B, value: '3'}, {name: C, value: '4'}]}, {name: y}]"
    folder = write(tmp_path / "o", "resources: [base.yaml]\npatches: [{path: patch.yaml}]\n", base=base, patch=patch)
    (one,) = render(folder)
    assert one["spec"]["template"]["spec"]["containers"] == [
        {"name": "y"},
        {
            "name": "x",
            "env": [{"name": "C", "value": "4"}, {"name": "A", "value": "1"}, {"name": "B", "value": "3"}],
        },
    ]


@pytest.mark.parametrize(
    ("kustomization", "said"),
    [
        ("resources: [base.yaml]\ncommonLabels: {a: b}\n", "commonLabels"),
        ("resources: [base.yaml]\npatches: [{path: patch.yaml, options: {}}]\n", "a patch with options, path"),
        ("resources: [base.yaml]\nreplicas: [{name: b, count: 1}]\n", "0 objects are called b"),
        ("resources: [base.yaml, base.yaml]\n", "two objects have one name"),
        ("configMapGenerator: [{name: c, files: [x]}]\n", "files"),
        (
            "resources: [base.yaml]\npatches: [{target: {kind: Deployment, name: a}, patch: '[{op: remove, path: /a}]'}]\n",
            "remove",
        ),
        ("resources: [base.yaml]\npatches: [{path: deletes.yaml}]\n", r"\$patch"),
    ],
)
def test_what_it_does_not_know_it_refuses(tmp_path: Path, kustomization: str, said: str) -> None:
    files = {"base": POD % "[]", "patch": POD % "[]", "deletes": (POD % "[]") + "$patch: delete\n"}
    folder = write(tmp_path / "o", kustomization, **files)
    with pytest.raises(UnknownFeatureError, match=said):
        render(folder)


def test_a_key_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "o", "resources: [base.yaml]\n", base="kind: A\nmetadata: {name: a}\nkind: B\n")
    with pytest.raises(yaml.YAMLError, match="twice"):
        render(folder)
