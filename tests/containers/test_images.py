"""The images: their build, their size, and what is in them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.containers.engine import BASE, REPOSITORY, Podman
from tests.containers.images import DOCKERFILES, EXAMPLE, VERSION, image

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

MEGABYTE = 1_000_000
OWN_MEGABYTES_MAX = {"submit": 115, "results": 115, "worker": 115, "edge": 120}
"""What an image adds to its base. uvloop takes 14, because its wheel has debug information."""


def inspect(podman: Podman, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(podman("image", "inspect", name))[0]
    return found


def own_megabytes(podman: Podman, name: str) -> float:
    return float(inspect(podman, name)["Size"] - inspect(podman, BASE)["Size"]) / MEGABYTE


def test_hadolint_has_no_objection() -> None:
    files = [str(REPOSITORY / file) for file in DOCKERFILES.values()]
    subprocess.run([Path(sys.executable).with_name("hadolint"), *files], check=True)


def test_the_services_are_built_in_the_same_way() -> None:
    """So they share the layers of the build, and a change of one is a change of all."""

    def steps(name: str) -> str:
        text = (REPOSITORY / DOCKERFILES[name]).read_text()
        return text[text.index("WORKDIR /build") : text.index("FROM", text.index("WORKDIR /build"))]

    assert steps("submit") == steps("results") == steps("worker")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_is_small_and_runs_without_root(images: Podman, name: str) -> None:
    """No shell stands between the signal of the engine and the program; no pip's cache, no compiler."""
    record = inspect(images, image(name))
    config = record["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"][0] == "python"
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == VERSION
    assert re.fullmatch("[0-9a-f]{40}|unknown", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.title"] == f"insula-{name}"
    assert own_megabytes(images, image(name)) < OWN_MEGABYTES_MAX[name]
    left = "find / -xdev -path '*/.cache/*' -o -path /opt/insula/venv/bin/pip -o -path /build 2>/dev/null | wc -l"
    look = f"id -u; {left}; command -v gcc cc make"
    said = images("run", "--rm", "--network", "none", "--entrypoint", "sh", image(name), "-c", look, check=False)
    assert said.split() == ["65532", "0"]


def test_the_sizes(images: Podman, example: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed for docs/images.md."""
    sizes = [
        f"{own_megabytes(images, name):6.0f} MB on its base: {name}" for name in (*map(image, DOCKERFILES), EXAMPLE)
    ]
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *sizes]))


def test_a_baked_environment_needs_no_network(images: Podman, example: str) -> None:
    """The key is the one that a worker computes, and the handler's packages can be imported."""
    code = """
import asyncio, subprocess, pathlib
from insula.project import read_project
from insula_worker.environments.environment import ensure_environment
from insula_worker.installation import environment_inputs
from insula_worker.view import View, ViewSettings
project = read_project(pathlib.Path("/opt/insula/project"))[0]
inputs = environment_inputs(project.spec, "", project.root, {"PATH": "/usr/bin:/bin"})
view = View(ViewSettings(), pathlib.Path("/tmp"), project.root)
baked = pathlib.Path("/opt/insula/environments")
python = asyncio.run(ensure_environment(inputs, pathlib.Path("/tmp/cache"), view, baked=baked))
print(python.is_relative_to(baked), subprocess.run([python, "-c", "import py3langid"]).returncode)
"""
    options = ("--network", "none", "--read-only", "--cap-drop", "all", "--entrypoint", "python")
    assert images("run", "--rm", *options, example, "-P", "-c", code) == "True 0"
