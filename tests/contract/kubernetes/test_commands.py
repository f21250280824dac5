"""`insula render` and `insula deploy --kubernetes`, with a kubectl that records how it was called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.project.entries import MINIMAL, project

INSULA = Path(sys.executable).parent / "insula"
RECORDING = f"""\
#!{sys.executable}
import json, os, pathlib, sys
record = {{"arguments": sys.argv[1:], "input": sys.stdin.read()}}
pathlib.Path(os.environ["RECORD"]).write_text(json.dumps(record))
print("deployment.apps/api-my-api serverside-applied")
print("a warning of kubectl", file=sys.stderr)
sys.exit(int(os.environ.get("KUBECTL_CODE", "0")))
"""
OPTIONS = (
    "--namespace",
    "ml",
    "--image",
    "registry.example.com/worker:1.2",
    "--grace",
    "120",
    "--no-keda",
    "--replicas",
    "3",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project; its neighbour `bin` has the recording kubectl."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl").write_text(RECORDING, encoding="utf-8")
    (folder / "kubectl").chmod(0o755)
    (tmp_path / "project").mkdir()
    return project(tmp_path / "project", {})


def insula(root: Path, *arguments: str, code: int = 0, path: str = "bin") -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{root.parent / path}:{os.defpath if path == 'bin' else ''}",
        "RECORD": str(root.parent / "record"),
        "KUBECTL_CODE": str(code),
    }
    return subprocess.run([INSULA, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_deploy_pipes_exactly_the_output_of_render_to_kubectl(root: Path) -> None:
    for options in ((), OPTIONS):
        rendered = insula(root, "render", *options)
        deployed = insula(root, "deploy", "--kubernetes", *options)
        record = json.loads((root.parent / "record").read_text(encoding="utf-8"))
        assert (rendered.returncode, rendered.stderr, deployed.returncode) == (0, "", 0)
        assert record == {"arguments": ["apply", "--server-side", "-f", "-"], "input": rendered.stdout}
        assert rendered.stdout.startswith("---\napiVersion: ")
        assert deployed.stdout == "deployment.apps/api-my-api serverside-applied\n"


def test_the_exit_code_and_the_errors_of_kubectl_are_passed_on(root: Path) -> None:
    deployed = insula(root, "deploy", "--kubernetes", code=3)
    assert (deployed.returncode, deployed.stderr) == (3, "a warning of kubectl\n")


def test_without_kubectl_the_error_names_it(root: Path) -> None:
    deployed = insula(root, "deploy", "--kubernetes", path="nothing")
    assert deployed.returncode == 1
    assert deployed.stderr.startswith(
        "insula: kubectl is not on PATH: install it, or apply the output of `insula render`"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("render", "--replicas", "2"), "--replicas needs --no-keda"),
        (("deploy", "--image", "worker:1"), "the options of `insula render` need --kubernetes"),
        (("deploy", "--kubernetes", "--api", "other"), "cortex.yaml has no API other; it has my-api"),
        (("render", "--image", "worker"), "needs a tag other than latest, or a digest"),
    ],
)
def test_a_wrong_option_is_refused(arguments: tuple[str, ...], problem: str, root: Path) -> None:
    refused = insula(root, *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert problem in refused.stderr
    assert not (root.parent / "record").exists()


def test_one_api_of_several_is_applied_alone(root: Path) -> None:
    """The API's objects do not differ from those of the whole project, so the image that it names is the same."""
    project(root, {}, MINIMAL + MINIMAL.replace("my-api", "another"))
    every = insula(root, "render").stdout
    insula(root, "deploy", "--kubernetes", "--api", "another")
    record = json.loads((root.parent / "record").read_text(encoding="utf-8"))
    assert record["input"] in every
    assert "name: api-another" in record["input"]
    assert "name: api-my-api" not in record["input"]
