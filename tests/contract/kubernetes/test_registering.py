"""An API on Kubernetes is registered by a Job, or by `insula deploy` itself. The admin service here is real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from insula.kubernetes.options import Options
from insula.kubernetes.render import objects
from insula.project import read_project
from tests.stack import Stack, running_stack
from tests.unit.project.entries import MINIMAL, project

INSULA = Path(sys.executable).parent / "insula"
KUBECTL = "#!/bin/sh\ncat >/dev/null\necho applied\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("registering")
    (folder / "resident").mkdir()
    root = project(folder / "resident", {}, MINIMAL.replace("my-api", "resident"))
    async with running_stack([root], data=folder / ".insula") as running:
        yield running


def insula(stack: Stack, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | environment
    return subprocess.run([INSULA, *words], env=variables, capture_output=True, text=True, timeout=120, check=False)


def names(stack: Stack) -> set[str]:
    listed = insula(stack, "get", "--output", "json", "--admin", str(stack.info["admin"]))
    return {each["name"] for each in json.loads(listed.stdout)}


def test_the_command_of_the_job_registers_its_api_and_may_be_repeated(stack: Stack, tmp_path: Path) -> None:
    """The command registers no other API of the project. It does not wait for a worker, because there may be none."""
    root = project(tmp_path, {}, MINIMAL.replace("my-api", "by-job") + MINIMAL.replace("my-api", "not-by-job"))
    found = objects(read_project(root), Options(), ["by-job"])
    (job,) = (each for each in found if each["kind"] == "Job")
    command: list[str] = job["spec"]["template"]["spec"]["containers"][0]["command"]
    here: dict[str, str] = {"/opt/insula/project": str(root), "insula-submit:8081": str(stack.info["admin"])}
    for outcome in ("\n", ", unchanged\n"):
        done = insula(stack, *(here.get(word, word) for word in command[1:]))
        assert (command[0], done.returncode, done.stdout) == ("insula", 0, ""), done.stderr
        assert done.stderr.endswith(f" at /by-job{outcome}")
    assert names(stack) >= {"by-job"}
    assert "not-by-job" not in names(stack)


def test_without_an_image_the_command_itself_registers_after_kubectl(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kubectl").write_text(KUBECTL, encoding="utf-8")
    (tmp_path / "bin" / "kubectl").chmod(0o755)
    (tmp_path / "project").mkdir()
    root = project(tmp_path / "project", {}, MINIMAL.replace("my-api", "by-command"))
    options = ("--kubernetes", "--no-build-image", "--admin", str(stack.info["admin"]))
    path = f"{tmp_path / 'bin'}:{os.defpath}"
    done = insula(stack, "deploy", str(root), *options, PATH=path)
    assert (done.returncode, done.stdout) == (0, "applied\n"), done.stderr
    assert "by-command: version " in done.stderr
    assert "by-command" in names(stack)
