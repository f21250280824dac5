"""Real environments, built with venv and pip."""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from insula.cache import ENVIRONMENTS, cache_folder
from insula_worker.environments.baked import name_version
from insula_worker.environments.environment import READY_MARK, ensure_environment
from insula_worker.environments.key import EnvironmentFailed, EnvironmentInputs, environment_key
from tests.environments import remove_environments
from tests.views import open_view


@pytest.fixture
def inputs(tmp_path: Path) -> EnvironmentInputs:
    """A project without dependencies and without the packages of the base set. Its environment is built in 2 s."""
    project = tmp_path / "project"
    project.mkdir()
    return EnvironmentInputs(project=project, variables=dict(os.environ), base_set=())


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cache(module_cache: Path) -> Iterator[Path]:
    """A cache without environments."""
    yield module_cache
    remove_environments(module_cache)


def output(python: Path, script: str) -> str:
    return subprocess.check_output([python, "-c", script], text=True)


def logged(cache: Path) -> str:
    (log,) = (cache / "environments").glob("*.log")
    return log.read_text()


async def test_an_environment_is_built_once(inputs: EnvironmentInputs, cache: Path) -> None:
    """Two concurrent calls and a later one share one build."""
    (inputs.project / "dependencies.sh").write_text('touch "$VIRTUAL_ENV/run-$$"\n')
    one, other = await asyncio.gather(
        ensure_environment(inputs, cache, open_view(inputs.project)),
        ensure_environment(inputs, cache, open_view(inputs.project)),
    )
    later = await ensure_environment(inputs, cache, open_view(inputs.project))
    assert one == other == later
    assert len(list(one.parent.parent.glob("run-*"))) == 3, "a second build would have removed what was there"
    assert output(one, "import sys; print(sys.prefix)") == f"{one.parent.parent}\n"


async def test_dependencies_sh_runs_before_pip_in_the_environment_and_with_its_variables(
    inputs: EnvironmentInputs, cache: Path
) -> None:
    """In dependencies.sh, the variables of .env are set, and `pip` is that of the environment."""
    (inputs.project / "dependencies.sh").write_text('echo "$TOKEN" > token; command -v pip > which\n')
    (inputs.project / "requirements.txt").write_text("# nothing\n")
    python = await ensure_environment(
        replace(inputs, variables={**inputs.variables, "TOKEN": "t"}), cache, open_view(inputs.project)
    )
    assert (inputs.project / "token").read_text() == "t\n"
    assert (inputs.project / "which").read_text() == f"{python.with_name('pip')}\n"
    assert logged(cache).index("dependencies.sh") < logged(cache).index("requirements.txt")


async def test_the_image_of_another_version_serves_a_version_only_if_it_has_its_environment(
    inputs: EnvironmentInputs, cache: Path, tmp_path: Path
) -> None:
    """A worker in an image may build an environment only for the version of its image.

    It may have to, because the key of an editable requirement differs in each copy of the project.
    """

    async def python_of(version: str) -> Path:
        view = open_view(inputs.project)
        return await ensure_environment(inputs, cache, view, baked=tmp_path / ENVIRONMENTS, version=version)

    await ensure_environment(inputs, tmp_path, open_view(inputs.project))
    name_version(tmp_path / ENVIRONMENTS, "1")
    assert [(await python_of(version)).is_relative_to(tmp_path) for version in ("1", "2")] == [True, True]
    (inputs.project / "requirements.txt").write_text("# others\n")
    with pytest.raises(EnvironmentFailed, match=r"built for another version .* insula build$"):
        await python_of("2")
    assert (await python_of("1")).is_relative_to(cache)


async def test_a_failed_build_says_why_and_is_tried_again(inputs: EnvironmentInputs, cache: Path) -> None:
    (inputs.project / "dependencies.sh").write_text(
        "echo first; yes x | head -c 100000; echo the reason; test -e fixed\n"
    )
    with pytest.raises(EnvironmentFailed, match=r"dependencies\.sh failed with exit code 1") as failed:
        await ensure_environment(inputs, cache, open_view(inputs.project))
    assert str(failed.value).endswith("the reason")
    assert len(str(failed.value)) < 17_000
    (inputs.project / "fixed").touch()
    assert (await ensure_environment(inputs, cache, open_view(inputs.project))).exists()


async def test_a_requirement_that_does_not_exist_is_named(inputs: EnvironmentInputs, cache: Path) -> None:
    (inputs.project / "requirements.txt").write_text("./no-such-package\n")
    with pytest.raises(EnvironmentFailed, match="no-such-package"):
        await ensure_environment(inputs, cache, open_view(inputs.project))


async def test_conda_packages_without_conda_are_refused(
    inputs: EnvironmentInputs, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (inputs.project / "conda-packages.txt").write_text("numpy=1.26\n")
    with pytest.raises(EnvironmentFailed, match=r"conda-packages\.txt needs conda, which is not on the PATH"):
        await ensure_environment(inputs, cache, open_view(inputs.project))


async def test_a_build_that_takes_too_long_is_ended(inputs: EnvironmentInputs, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match=r"the environment was not built within 0\.1 s:\n.* -m venv "):
        await ensure_environment(inputs, tmp_path / "cache", open_view(inputs.project), timeout_s=0.1)


async def test_a_cancelled_build_ends_with_everything_it_started(inputs: EnvironmentInputs, cache: Path) -> None:
    started = inputs.project / "started"
    os.mkfifo(started)
    (inputs.project / "dependencies.sh").write_text("sleep 98 & echo $! > started; wait\n")
    build = asyncio.create_task(ensure_environment(inputs, cache, open_view(inputs.project)))
    child = os.pidfd_open(int(await asyncio.to_thread(started.read_text)))
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    ended, _, _ = await asyncio.to_thread(select.select, [child], [], [], 10)
    os.close(child)
    assert ended


async def test_waiting_for_another_builder_can_be_cancelled(inputs: EnvironmentInputs, cache: Path) -> None:
    """A worker that waits while another one builds does not block its event loop. It leaves no thread behind."""
    lock = cache / "environments" / f"{environment_key(inputs)}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await ensure_environment(inputs, cache, open_view(inputs.project))
        assert time.monotonic() - began < 5


async def test_an_environment_without_its_mark_is_built_again(inputs: EnvironmentInputs, cache: Path) -> None:
    """A build that was killed leaves a folder without the mark of a complete environment."""
    half_built = cache / "environments" / environment_key(inputs) / "bin"
    half_built.mkdir(parents=True)
    (half_built / "half-written").touch()
    (half_built / "python").symlink_to(inputs.interpreter)
    assert await ensure_environment(inputs, cache, open_view(inputs.project)) == half_built / "python"
    assert (half_built / "pip").exists()
    assert not (half_built / "half-written").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_base_set_and_requirements_are_installed_and_pins_win(inputs: EnvironmentInputs) -> None:
    """The environment has the packages of the base set, in the versions that requirements.txt pins.

    The test uses the user's own cache, so that the stacks of other tests can copy the base.
    """
    (inputs.project / "requirements.txt").write_text("iniconfig\nurllib3<2.7\n")
    whole = EnvironmentInputs(project=inputs.project, variables=inputs.variables)
    cache = cache_folder(os.environ, Path.cwd())
    shutil.rmtree(cache / ENVIRONMENTS / environment_key(whole), ignore_errors=True)
    python = await ensure_environment(whole, cache, open_view(whole.project))
    script = (
        "import boto3, dill, iniconfig, numpy, PIL, requests, urllib3, yaml;"
        "print(tuple(map(int, urllib3.__version__.split('.')[:2])) < (2, 7))"
    )
    assert output(python, script) == "True\n"


async def test_settings_of_the_users_own_pip_do_not_lead_elsewhere(
    inputs: EnvironmentInputs, cache: Path, tmp_path: Path
) -> None:
    """The user's pip.conf cannot change the folder into which pip installs. This holds in dependencies.sh too.

    The option find-links of this file works, and so does that of a pip.conf which dependencies.sh writes.
    """
    one, two = (wheel(tmp_path / name, name) for name in ("from-the-users-links", "from-the-scripts-links"))
    home = tmp_path / "home"
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "pip" / "pip.conf").write_text(
        f"[global]\nuser = true\nrequire-hashes = true\nno-index = true\nfind-links = {one}\n"
        f"[install]\ntarget = {tmp_path / 'elsewhere'}\n"
    )
    (inputs.project / "dependencies.sh").write_text(
        f"pip install from-the-users-links\nprintf '[global]\\nfind-links = {two}\\n' > $VIRTUAL_ENV/pip.conf\n"
    )
    (inputs.project / "requirements.txt").write_text("from-the-scripts-links\n")
    variables = {**inputs.variables, "HOME": str(home), "PIP_PREFIX": str(tmp_path / "elsewhere")}
    variables = {name: value for name, value in variables.items() if name != "PIP_FIND_LINKS"}
    python = await ensure_environment(replace(inputs, variables=variables), cache, open_view(inputs.project))
    assert output(python, "import from_the_users_links, from_the_scripts_links") == ""
    assert not (tmp_path / "elsewhere").exists()


async def test_an_environment_works_at_any_path(inputs: EnvironmentInputs, tmp_path: Path) -> None:
    """The path has quotes, spaces and `$`. A program that pip installs begins with the path of the interpreter."""
    (inputs.project / "dependencies.sh").write_text("pip --version\n")
    cache = tmp_path / """-a, "b" 'c' $HOME `d` %41 \\x 🐙"""
    python = await ensure_environment(inputs, cache, open_view(inputs.project))
    assert output(python, "import sys; print(sys.prefix)") == f"{python.parents[1]}\n"
    assert subprocess.check_output([python.with_name("pip"), "--version"], text=True).startswith("pip ")


async def test_an_environment_without_a_required_package_is_not_kept(
    inputs: EnvironmentInputs, cache: Path, tmp_path: Path
) -> None:
    """An environment without a required package is built again, even if it is marked as complete.

    If the package is missing after a build too, the build fails.
    """
    links = wheel(tmp_path / "wheels", "wanted")
    (inputs.project / "requirements.txt").write_text(f"--no-index\n--find-links {links}\nwanted\n")
    empty = cache / "environments" / environment_key(inputs)
    (empty / "bin").mkdir(parents=True)
    (empty / "bin" / "python").symlink_to(inputs.interpreter)
    (empty / READY_MARK).touch()
    python = await ensure_environment(inputs, cache, open_view(inputs.project))
    assert output(python, "import wanted") == ""
    (inputs.project / "dependencies.sh").write_text("echo > $(echo $VIRTUAL_ENV/lib/*/site-packages/pip/__main__.py)\n")
    with pytest.raises(EnvironmentFailed, match="pip reported success, but did not install wanted where it should"):
        await ensure_environment(inputs, cache, open_view(inputs.project))


def wheel(folder: Path, name: str) -> Path:
    """Make a wheel of this name in a new folder. Its module is empty. Return the folder."""
    module = name.replace("-", "_")
    folder.mkdir()
    with zipfile.ZipFile(folder / f"{module}-1-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{module}.py", "")
        archive.writestr(f"{module}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        archive.writestr(
            f"{module}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{module}-1.dist-info/RECORD", "")
    return folder
