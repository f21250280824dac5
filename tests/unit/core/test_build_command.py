"""`insula build` with a shell script in place of podman: the errors of the command, and the files of the build."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from insula.cli.main import app

HANDLER = "class Handler:\n    def handle_async(self, payload):\n        return {}\n"
API = "- {{name: {name}, kind: AsyncAPI, handler: {{type: python, path: handler.py{more}}}}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "handler.py").write_text(HANDLER)
    (folder / "cortex.yaml").write_text(API.format(name="one", more=""))
    return folder


def engine(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a shell script named `podman` on the PATH, as the only container engine."""
    folder.mkdir()
    program = folder / "podman"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["build", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_a_machine_without_an_engine_is_told_what_to_install(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    code, _, said = run(project)
    assert code == 2
    assert "podman and docker cannot be found on the PATH" in said


def test_a_missing_base_image_is_named_with_the_command_that_builds_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(tmp_path / "bin", '[ "$1" = image ] && exit 1; echo "no such registry" >&2; exit 125', monkeypatch)
    code, _, said = run(project, "--base", "mine:1")
    assert code == 1
    assert "the base image mine:1 is not on this machine, and cannot be pulled:\nno such registry" in said
    assert "podman build -f services/worker/Dockerfile -t mine:1 ." in said


def test_a_failed_build_ends_with_its_last_lines(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(tmp_path / "bin", '[ "$1" = image ] && exit 0; seq 40; exit 3', monkeypatch)
    code, out, said = run(project)
    assert (code, out) == (1, "")
    last = "\n".join(map(str, range(26, 41)))
    assert said.endswith(f"insula build: podman build failed with exit code 3; its last lines:\n{last}\n")


def test_the_context_has_the_deployed_files_and_the_configuration(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`insula deploy` in the image registers the same version as outside of it."""
    (project / ".cortexignore").write_text("secret.txt\n")
    (project / "secret.txt").write_text("x")
    (project / ".env").write_text("A=1\n")
    kept = tmp_path / "kept"
    engine(tmp_path / "bin", f'[ "$1" = build ] && for last; do :; done && cp -a "$last" {kept}; exit 0', monkeypatch)
    code, out, said = run(project, "--tag", "registry.example.com/one:1", "--base", "mine:1")
    assert (code, out) == (0, "registry.example.com/one:1\n")
    assert {path.name for path in (kept / "project").iterdir()} == {".env", "cortex.yaml", "handler.py"}
    assert "FROM mine:1\n" in (kept / "Containerfile").read_text()
    assert "the image holds the project's .env" in said


def test_apis_that_name_several_images_need_a_tag(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(tmp_path / "bin", "exit 0", monkeypatch)
    apis = API.format(name="one", more=", image: a:1") + API.format(name="two", more=", image: b:1")
    (project / "cortex.yaml").write_text(apis)
    code, _, said = run(project)
    assert code == 2
    assert "name several images: a:1, b:1; choose the one to build with --tag" in said
    assert run(project, "--tag", "c:1")[:2] == (0, "c:1\n")
