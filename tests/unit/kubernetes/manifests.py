"""The objects that kustomize makes of the folder k8s, and those that `insula render` makes of projects."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from insula.kubernetes.options import Options
from insula.kubernetes.render import objects, to_yaml
from insula.project import Project, read_project
from tests.unit.house.tree import ROOT

Object = dict[str, Any]
KUBECTL = Path(sys.executable).parent / "kubectl"
OVERLAYS = ("base", "overlays/dev", "overlays/prod")
PROJECTS = tuple(
    sorted(
        path.parent.relative_to(ROOT).as_posix()
        for folder in ("examples", "tests/projects", "src/insula/templates")
        for path in (ROOT / folder).glob("*/cortex.yaml")
    )
)
WORKLOADS = ("Deployment", "StatefulSet", "Job")


@cache
def overlay(name: str) -> tuple[Object, ...]:
    """Return the objects of a folder below k8s."""
    made = subprocess.run([KUBECTL, "kustomize", ROOT / "k8s" / name], check=True, capture_output=True)
    return tuple(yaml.safe_load_all(made.stdout))


def rendered(project: Sequence[Project], **options: Any) -> list[Object]:
    """Return the objects of projects, written as YAML and read again."""
    return list(yaml.safe_load_all(to_yaml(objects(project, Options(**options)))))


@cache
def of_folder(name: str) -> tuple[Object, ...]:
    """Return the objects of a project of this repository."""
    return tuple(rendered(read_project(ROOT / name), image="registry.example.com/worker:1.0"))


def every() -> Iterator[tuple[str, Object]]:
    """Yield each object of this repository, with the folder that it comes from."""
    for name in OVERLAYS:
        yield from ((name, each) for each in overlay(name))
    for name in PROJECTS:
        yield from ((name, each) for each in of_folder(name))


def pods() -> Iterator[tuple[str, Object]]:
    """Yield the template of each pod, with a name for it."""
    for name, each in every():
        if each["kind"] in WORKLOADS:
            yield f"{name}: {each['kind']} {each['metadata']['name']}", each["spec"]["template"]


def only(found: Sequence[Object], kind: str) -> Object:
    """Return the object of this kind, of which there is one."""
    (one,) = (each for each in found if each["kind"] == kind)
    return one
