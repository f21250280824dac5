"""tether.py starts a command that dies with the process that started it."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from insula.process import tether

TETHER = Path(tether.__file__)
SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin")  # one that other users can run
NOBODY = 65534
PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-I", "-S", sys.argv[1], "--parent", str(os.getpid()), "--", "sleep", "99"])
print(child.pid, flush=True)
child.wait()
"""


def run(*arguments: str, parent: int | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(TETHER), "--parent", str(parent or os.getpid()), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_child_dies_when_its_parent_is_killed() -> None:
    """The parent gets SIGKILL, so it cannot end its child itself."""
    with subprocess.Popen([sys.executable, "-c", PARENT, str(TETHER)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        ended, _, _ = select.select([child], [], [], 10)
        os.close(child)
    assert ended


def test_the_command_gets_its_arguments_untouched_and_its_exit_code_is_returned() -> None:
    script = "import sys; print(sys.argv[1:]); sys.exit(3)"
    ended = run("--", sys.executable, "-c", script, "--", "--hosts", "-x")
    assert (ended.stdout, ended.returncode) == ("['--', '--hosts', '-x']\n", 3)


def test_a_parent_that_is_already_gone_means_no_start() -> None:
    ended = run("--", "echo", "started", parent=1)
    assert (ended.stdout, ended.returncode) == ("", 1)


def test_a_command_that_does_not_exist_is_named() -> None:
    ended = run("--", "no-such-program")
    assert (ended.stderr, ended.returncode) == ("tether: no-such-program: No such file or directory\n", 1)


def test_the_hosts_file_is_seen_by_the_command_only(tmp_path: Path) -> None:
    before = Path("/etc/hosts").read_text()
    hosts = tmp_path / "hosts"
    hosts.write_text("127.8.7.6 api-x\n")
    script = "import socket; print(socket.gethostbyname('api-x'))"
    assert run("--hosts", str(hosts), "--", sys.executable, "-c", script).stdout == "127.8.7.6\n"
    assert Path("/etc/hosts").read_text() == before


@pytest.mark.skipif(os.geteuid() != 0 or SYSTEM_PYTHON is None, reason="needs root, to do without it")
def test_without_root_the_hosts_file_is_bound_and_the_tether_holds() -> None:
    """An ordinary user needs a user namespace to bind the hosts file. Its creation clears the parent-death signal."""
    script = (
        "import ctypes, os, socket; sent = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(sent), 0, 0, 0);"
        "print(socket.gethostbyname('api-x'), sent.value, os.getuid())"
    )
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copy(TETHER, folder)
        hosts = Path(folder, "hosts")
        hosts.write_text("127.8.7.6 api-x\n")
        for file in (hosts, Path(folder, TETHER.name)):
            file.chmod(0o644)  # whatever our umask
        tethered = [str(SYSTEM_PYTHON), "-I", "-S", f"{folder}/tether.py", "--parent", str(os.getpid())]
        ended = subprocess.run(
            [*tethered, "--hosts", str(hosts), "--", str(SYSTEM_PYTHON), "-c", script],
            capture_output=True, text=True, timeout=30, check=False, user=NOBODY, group=NOBODY, extra_groups=[],
        )  # fmt: skip
    if "could not be bound" in ended.stderr:
        pytest.skip("this machine does not permit user namespaces")
    assert ended.stdout == f"127.8.7.6 {signal.SIGKILL:d} {NOBODY}\n"


def test_a_hosts_file_that_cannot_be_bound_does_not_stop_the_command() -> None:
    ended = run("--hosts", "/nowhere/hosts", "--", "echo", "started")
    assert ended.stdout == "started\n"
    assert ended.stderr.count("\n") == 1
    assert "/etc/hosts" in ended.stderr
    assert ended.returncode == 0
