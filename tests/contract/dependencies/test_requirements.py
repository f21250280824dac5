"""Requirements of projects on a whole stack: local packages, and versions that conflict with Insula's."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from insula.cache import ENVIRONMENTS, cache_folder
from insula_worker.environments.environment import ensure_environment
from insula_worker.environments.key import EnvironmentInputs
from tests.http_api import HttpApi
from tests.stack import running_stack
from tests.views import open_view

PROJECTS = Path(__file__).parents[2] / "projects"


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Callable[[], list[Path]]]:
    """Return a function that lists the environments that this test has built. The fixture deletes them at the end."""
    environments = cache_folder(os.environ, Path.cwd()) / ENVIRONMENTS

    def find() -> list[Path]:
        logs = environments.glob("*.log")
        return [log.with_suffix("") for log in logs if str(tmp_path) in log.read_text(errors="replace")]

    yield find
    for environment in find():
        subprocess.run(["rm", "-rf", *environments.glob(f"{environment.name}*")], check=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_packages_of_the_project_are_installed(tmp_path: Path, built: Callable[[], list[Path]]) -> None:
    """The requirements are `.`, `./lib` and `-e ./editable`. The project has a python_path, a dependencies.sh, a .env.

    The second start uses the environment of the first. The script runs again and writes its files into the new copy of
    the project.
    """
    data = tmp_path / "data"
    for _ in range(2):
        async with running_stack([PROJECTS / "local-packages"], data=data, options=["--yes"]) as stack:
            assert stack.state("local-packages") == ("ready", "")
            answer = HttpApi(f"{stack.public}/local-packages").run(b"{}", "application/json")
            assert answer["result"] == {
                "names": ["whole", "one", "two", "sibling"],
                "greeting": ["hello", "hello"],
                "two": "editable/two.py",
                "one in the environment": True,
                "root on the path": False,
            }
    assert len(built()) == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_projects_pins_may_conflict_with_insulas(tmp_path: Path) -> None:
    """Other major versions of protobuf, redis, grpcio and numpy work: Insula shares no package with the handler."""
    async with running_stack([PROJECTS / "old-pins"], data=tmp_path / "data") as stack:
        assert [stack.state(api) for api in ("old-pins", "protobuf-4")] == [("ready", "")] * 2
        old, newer = (
            HttpApi(f"{stack.public}/{api}").run(b'{"a": 1.5}', "application/json")["result"]
            for api in ("old-pins", "protobuf-4")
        )
    assert [result["sum"] for result in (old, newer)] == [6, 6]
    assert [result["parsed"] for result in (old, newer)] == [{"a": 1.5}] * 2
    assert [result["redis"] for result in (old, newer)] == ["4.6.0"] * 2
    assert old["versions"]["numpy"].startswith("1.")
    assert (old["versions"]["grpcio"], old["versions"]["protobuf"]) == ("1.54.3", "3.20.3")
    assert newer["versions"]["protobuf"] == "4.25.8"


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_boto3_of_2021_and_programs_of_the_environment_work_unchanged(tmp_path: Path) -> None:
    """boto3's clients of S3 use the stack's S3. Clients with other keys, or of other services, use Amazon.

    The same holds in child processes of multiprocessing and joblib, which can import the handler's module. `python` and
    installed programs are those of the environment, even if the project sets PATH.
    """
    async with running_stack([PROJECTS / "old-boto3"], data=tmp_path / "data") as stack:
        assert stack.state("results") == ("ready", "")
        answer = HttpApi(f"{stack.public}/results").run(b"new", "application/octet-stream")
    assert answer["result"] == {
        "versions": ["1.17.53", "1.17.53"],
        "keys": ["from-a-child", "key"],
        "loky": ["new", "too"],
        "warnings": [],
        "endpoints": ["https://s3.amazonaws.com", "https://queue.amazonaws.com", "https://s3.amazonaws.com"],
        "python": True,
        "tqdm": "4.60.0",
        "imported": True,
    }


async def test_a_tensorflow_in_the_projects_requirements_is_kept(tmp_path: Path, cache: Path) -> None:
    """No other TensorFlow is installed for a tensorflow handler. The package here is a fake."""
    package = tmp_path / "stand-in"
    (package / "tensorflow").mkdir(parents=True)
    (package / "tensorflow" / "__init__.py").write_text("__version__ = 'the stand-in'")
    (package / "setup.py").write_text("from setuptools import setup\nsetup(name='stand-in', packages=['tensorflow'])")
    (tmp_path / "requirements.txt").write_text("./stand-in\n")
    inputs = EnvironmentInputs(tmp_path, dict(os.environ), base_set=(), tensorflow=True)
    python = await ensure_environment(inputs, cache, open_view(inputs.project))
    found = await asyncio.create_subprocess_exec(
        python, "-c", "import tensorflow; print(tensorflow.__version__)", stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await found.communicate()
    assert printed == b"the stand-in\n"
