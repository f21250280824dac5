"""The changes that an API makes to its environment and the system persist until its next start. No other API has them.

They are made by its dependencies.sh or by its handler.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from insula_worker.environments.key import EnvironmentFailed
from tests.contract.isolation.conftest import Api, Machine

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user cannot write to the system's folders")
SETUP = "from setuptools import setup\nsetup(name={0!r}, version='1', py_modules=[{0!r}])\n"


def package(api: Api, name: str, folder: str) -> None:
    """Write a package into the project. It can be installed without a network."""
    api.write(f"{folder}/setup.py", SETUP.format(name))
    api.write(f"{folder}/{name}.py", "ANSWER = 42\n")


async def test_the_project_itself_can_be_installed_in_editable_mode(machine: Machine) -> None:
    api = machine.api("echo")
    package(api, "own_module", ".")
    api.write("requirements.txt", "-e .\n")
    handler = await api.start()
    assert await handler.found("import own_module; found = own_module.ANSWER, own_module.__file__") == [
        42,
        str(api.project / "own_module.py"),
    ]


async def test_a_package_that_a_handler_installs_is_in_no_other_api(machine: Machine) -> None:
    """Both APIs have the same requirements, so they share the environment below their layers."""
    api, other = machine.api("echo"), machine.api("other")
    package(api, "late", "late")
    install = "import subprocess, sys; subprocess.check_call([sys.executable, '-m', 'pip', 'install', './late'])"
    handler = await api.start(init=install)
    assert await handler.found("import late; found = late.ANSWER") == 42
    neighbour = await other.start()
    find = "import importlib.util, sys; found = [bool(importlib.util.find_spec('late')), sys.prefix]"
    _, prefix = await handler.found(find)
    assert await neighbour.found(find) == [False, prefix]
    assert not list(Path(prefix).rglob("late.py"))


async def test_a_pth_file_that_a_handler_writes_runs_in_no_other_api(machine: Machine) -> None:
    handler = await machine.api("echo").start()
    write = """
        import pathlib, sysconfig
        path = pathlib.Path(sysconfig.get_path("purelib"), "evil.pth")
        path.write_text("import os; os.environ['EVIL'] = '1'")
        found = str(path)
    """
    path = await handler.found(write)
    assert not Path(path).exists()
    neighbour = await machine.api("other").start()
    look = "import os; found = 'EVIL' in os.environ or os.path.exists({!r})"
    assert await neighbour.found(look.format(path)) is False


async def test_files_that_a_script_writes_to_the_environment_are_there_at_the_next_start(machine: Machine) -> None:
    """Another API with the same script does not see them."""
    api = machine.api("echo")
    script = 'echo run >> "$VIRTUAL_ENV/runs"; cp "$VIRTUAL_ENV/runs" .'
    counts = []
    for _ in range(3):
        api.write("dependencies.sh", script)
        await api.start(owner="echo")
        counts.append((api.project / "runs").read_text().count("run"))
        await api.stop()
    assert counts == [1, 2, 3]
    other = machine.api("other")
    other.write("dependencies.sh", script)
    await other.start(owner="other")
    assert (other.project / "runs").read_text() == "run\n"


async def test_two_versions_of_an_api_at_the_same_time_have_separate_layers(machine: Machine) -> None:
    """Both run during a deployment. The kernel does not allow two mounts of one layer."""
    api = machine.api("echo")
    api.write("dependencies.sh", 'echo run >> "$VIRTUAL_ENV/runs"; wc -l < "$VIRTUAL_ENV/runs" > runs')
    before = await api.start()
    await api.start()
    assert await before.found("import sys; found = open(sys.prefix + '/runs').read()") == "run\n"


async def test_files_that_a_script_writes_to_tmp_are_there_for_the_handler(machine: Machine) -> None:
    api = machine.api("echo")
    api.write("dependencies.sh", "mkdir /tmp/model; echo weights > /tmp/model/w; mkfifo /tmp/pipe")
    read = "found = open('/tmp/model/w').read(); open('/tmp/mine', 'x').close()"
    handler = await api.start()
    assert await handler.found(read) == "weights\n"
    assert not Path("/tmp/model").exists()


@needs_root
async def test_a_script_changes_the_systems_folders_for_its_own_api_only(machine: Machine) -> None:
    """The script copies a configuration to /etc, which pip reads. It runs after the script."""
    api = machine.api("echo")
    package(api, "only_here", "shelf/only-here")
    wheel = ["pip", "wheel", "--no-deps", "-q", "-w", "wheels", "shelf/only-here"]
    subprocess.run([sys.executable, "-m", *wheel], cwd=api.project, check=True)
    api.write("pip.conf", f"[global]\nno-index = true\nfind-links = {api.project / 'wheels'}\n")
    api.write("requirements.txt", "only-here\n")
    api.write("dependencies.sh", "cp pip.conf /etc/pip.conf; echo x > /opt/of-echo; echo x > /var/of-echo")
    before = Path("/etc/pip.conf").read_bytes() if Path("/etc/pip.conf").exists() else None
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "XDG_"))}
    handler = await api.start(variables=variables | {"HOME": str(api.project)})
    assert await handler.found("import only_here; found = only_here.ANSWER") == 42
    look = "import os; found = [os.path.exists(f'{folder}/of-echo') for folder in ('/opt', '/var')]"
    assert await handler.found(look) == [True, True]
    assert await (await machine.api("other").start()).found(look) == [False, False]
    assert not Path("/opt/of-echo").exists()
    assert before == (Path("/etc/pip.conf").read_bytes() if Path("/etc/pip.conf").exists() else None)


@needs_root
async def test_apt_get_install_works_at_every_start_and_does_not_change_the_machine(machine: Machine) -> None:
    api = machine.api("echo")
    control = "Package: insula-tiny\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: tiny\n"
    api.write("deb/DEBIAN/control", control)
    api.write("deb/usr/bin/insula-tiny", "#!/bin/sh\necho tiny\n").chmod(0o755)
    (api.project / "deb" / "DEBIAN").chmod(0o755)
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", "deb", "tiny.deb"], cwd=api.project, check=True)
    api.write("dependencies.sh", "apt-get install -y ./tiny.deb; dpkg -s insula-tiny > status")
    for _ in range(2):
        handler = await api.start()
        said = "import subprocess; found = subprocess.check_output(['insula-tiny'], text=True)"
        assert await handler.found(said) == "tiny\n"
        assert "install ok installed" in (api.project / "status").read_text()
        await api.stop()
    assert subprocess.run(["dpkg", "-s", "insula-tiny"], capture_output=True, check=False).returncode != 0


async def test_a_failed_script_leaves_no_layer_in_use(machine: Machine) -> None:
    api = machine.api("echo")
    api.write("dependencies.sh", "test -e fixed")
    with pytest.raises(EnvironmentFailed):
        await api.start()
    await api.stop()
    api.write("fixed", "")
    assert await (await api.start()).found("found = 1") == 1
    assert len(list(machine.cache.glob("environments/*.layers/*"))) == 1
