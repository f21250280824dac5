"""conda-packages.txt with a fake conda. The tests check the calls, their order, and that the environment works.

The fake records its arguments and makes the environment with venv. No test installs real conda packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from insula_worker.environments.environment import ensure_environment
from insula_worker.environments.key import EnvironmentFailed, EnvironmentInputs
from tests.views import open_view

CONDA = f"""#!/bin/sh
echo "conda $*" >> "$CALLS"
case "$1" in
    create) {sys.executable} -m venv "$4" ;;
    install) echo "active: $CONDA_PREFIX" >> "$CALLS"; ! grep -q no-such-package "$6" ;;
esac
"""


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EnvironmentInputs:
    """A project with conda-packages.txt, dependencies.sh and requirements.txt. PATH begins with the fake conda."""
    programs, project = tmp_path / "programs", tmp_path / "project"
    programs.mkdir()
    (programs / "conda").write_text(CONDA)
    (programs / "conda").chmod(0o755)
    (project / "own").mkdir(parents=True)
    (project / "conda-packages.txt").write_text("conda-forge::rdkit\n")
    (project / "dependencies.sh").write_text('echo "script with $(command -v python)" >> "$CALLS"\n')
    (project / "requirements.txt").write_text("./own\n")
    setup = 'import os\nopen(os.environ["CALLS"], "a").write("pip\\n")\n'
    setup += 'from setuptools import setup\nsetup(name="own", version="1", py_modules=["own"])\n'
    (project / "own" / "setup.py").write_text(setup)
    (project / "own" / "own.py").write_text("ANSWER = 42\n")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    variables = {**os.environ, "CALLS": str(tmp_path / "calls")}
    return EnvironmentInputs(project=project, variables=variables, base_set=())


async def test_conda_runs_between_the_script_and_pip(inputs: EnvironmentInputs, tmp_path: Path) -> None:
    """The environment has the worker's version of Python. conda-forge is added after the user's channels of conda."""
    python = await ensure_environment(inputs, tmp_path / "cache", open_view(inputs.project))
    target, packages = python.parent.parent, inputs.project / "conda-packages.txt"
    version = ".".join(map(str, sys.version_info[:2]))
    calls = (tmp_path / "calls").read_text().splitlines()
    assert list(dict.fromkeys(calls)) == [
        f"conda create --yes --prefix {target} python={version} pip",
        f"script with {python}",
        f"conda config --file {target}/.condarc --append channels conda-forge",
        f"conda install --yes --prefix {target} --file {packages}",
        f"active: {target}",
        "pip",
    ]
    assert subprocess.check_output([python, "-c", "import own; print(own.ANSWER)"], text=True) == "42\n"


async def test_a_package_that_conda_cannot_install_fails_the_build(inputs: EnvironmentInputs, tmp_path: Path) -> None:
    (inputs.project / "conda-packages.txt").write_text("no-such-package\n")
    with pytest.raises(EnvironmentFailed, match=r"conda install .* failed with exit code 1"):
        await ensure_environment(inputs, tmp_path / "cache", open_view(inputs.project))
    assert "pip" not in (tmp_path / "calls").read_text().splitlines()
