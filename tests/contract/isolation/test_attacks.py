"""Attacks by a malicious handler, of an ordinary user and of root, on the stack and on other APIs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from insula_local.seaweedfs.storage import Keys
from tests.contract.isolation.conftest import Isolated

FORBIDDEN_UNDER_ROOT = {16: "SYS_MODULE", 17: "SYS_RAWIO", 19: "SYS_PTRACE", 21: "SYS_ADMIN", 27: "MKNOD"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_handler_sees_its_project_in_the_data_directory_and_nothing_else(isolated: Isolated) -> None:
    """It does not see keys.json, the stores' files, the logs, or the projects of other APIs.

    If the user has no home, the cache is in the data directory, and the handler also sees its own environment there.
    """
    code = """
        import os, sys
        found = sorted(os.path.join(path, name) for path, folders, files in os.walk(data) for name in folders + files)
        found = [path for path in found if not path.startswith((os.getcwd(), sys.prefix))]
        try:
            open(data + "/keys.json").read()
        except FileNotFoundError:
            found.append("no keys")
    """
    *parents, keys = isolated.run("attacker", code, data=str(isolated.data))
    own = isolated.run("attacker", "import os, sys; found = [os.getcwd(), sys.prefix]")
    assert keys == "no keys"
    ways = {parent for path in own for parent in Path(path).parents}
    assert {Path(path) for path in parents} == {way for way in ways if isolated.data in way.parents}


def test_a_handler_cannot_see_read_or_signal_other_processes(isolated: Isolated) -> None:
    """The variables of other processes hold secrets: the keys of our bucket and the address of Redis."""
    code = """
        import os
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            found[pid] = open(f"/proc/{pid}/cmdline").read() + open(f"/proc/{pid}/environ").read()
        for pid in theirs:
            try:
                os.kill(pid, 0)
                if os.path.samefile(f"/proc/{pid}/exe", "/proc/self/exe"):
                    found["reached"] = str(pid)
            except OSError:
                pass
    """
    theirs = [pid for pid in [isolated.stack.pid, *isolated.stack.processes("worker")] if pid > 10]
    found = isolated.run("attacker", code, theirs=theirs)
    keys = Keys.parse((isolated.data / "keys.json").read_text())
    seen = "".join(found.values())
    assert set(found) <= {"1", "2"}
    for secret in (keys.secret_key, keys.token_key, "INSULA_REDIS_URL"):
        assert secret not in seen


def test_a_handler_does_not_see_the_tmp_and_shared_memory_of_another_api(isolated: Isolated) -> None:
    code = "found = [open(f'{folder}/secret', 'w').write('x') for folder in ('/tmp', '/var/tmp', '/dev/shm')]"
    assert isolated.run("victim", code) == [1, 1, 1]
    look = "import os; found = [os.path.exists(f'{folder}/secret') for folder in ('/tmp', '/var/tmp', '/dev/shm')]"
    assert isolated.run("attacker", look) == [False, False, False]
    assert not Path("/tmp/secret").exists()


def test_a_handler_cannot_change_the_environment_of_another_api(isolated: Isolated) -> None:
    """A .pth file that it writes, or a module that it changes, is not run by other APIs."""
    prefix = Path(isolated.run("attacker", "import sys; found = sys.prefix"))
    assert isolated.run("attacker", "import os; found = os.listdir(folder)", folder=str(prefix.parent)) == [prefix.name]
    write = """
        import sysconfig
        path = sysconfig.get_path("purelib") + "/evil.pth"
        open(path, "w").write("import os; os.environ['EVIL'] = '1'")
        found = path
    """
    assert not Path(isolated.run("attacker", write)).exists()
    look = "import os, sysconfig; found = os.path.exists(sysconfig.get_path('purelib') + '/evil.pth')"
    assert isolated.run("victim", look) is False


def test_a_hidden_folder_cannot_be_uncovered(isolated: Isolated) -> None:
    """It tries to unmount it, in its own and in new namespaces, and to read it through another process' root folder."""
    code = """
        import os, subprocess
        attempts = [
            "umount {data}; umount -l {data}; cat {data}/keys.json",
            "unshare -m sh -c 'umount {data}; cat {data}/keys.json'",
            "unshare -Urm sh -c 'umount {data}; umount -l {data}; umount /tmp; cat {data}/keys.json'",
            "unshare -Urmp --fork --mount-proc sh -c 'umount {data}; cat {data}/keys.json'",
            "nsenter -t 1 -m cat {data}/keys.json",
            "cat /proc/1/root{data}/keys.json /proc/self/root{data}/keys.json",
            "mount -o remount,rw {data}; mount --bind / /mnt; cat /mnt{data}/keys.json",
            "cat /proc/1/cwd/../../../../keys.json",
        ]
        found = [subprocess.run(one.replace("{data}", data), shell=True, capture_output=True) for one in attempts]
        found = [(one.returncode, one.stdout.decode()) for one in found]
    """
    for code_returned, printed in isolated.run("attacker", code, data=str(isolated.data)):
        assert code_returned != 0
        assert printed == ""


def test_the_kernels_settings_are_read_only(isolated: Isolated) -> None:
    """Root owns these files, so removed capabilities alone would not protect them."""
    code = """
        found = []
        for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger"):
            try:
                open(path, "w").write("1")
                found.append(path)
            except OSError:
                pass
    """
    assert isolated.run("attacker", code) == []


def test_the_hosts_file_and_the_code_of_insula_cannot_be_changed(isolated: Isolated) -> None:
    """The hosts file has the addresses of other APIs. The code of Insula also runs as the supervisor."""
    code = """
        found = []
        for path in paths:
            try:
                open(path, "a").close()
                found.append(path)
            except OSError:
                pass
    """
    init, runner = isolated.run(
        "attacker", "import sys, insula_runner; found = [sys.orig_argv[0], insula_runner.__file__]"
    )
    assert init
    assert isolated.run("attacker", code, paths=["/etc/hosts", runner]) == []


def test_capabilities_that_reach_beyond_a_namespace_are_removed(isolated: Isolated) -> None:
    code = """
        import ctypes, os
        status = open("/proc/self/status").read()
        line = next(line for line in status.splitlines() if line.startswith("CapEff"))
        libc = ctypes.CDLL(None, use_errno=True)
        found = {
            "effective": int(line.split()[1], 16),
            "no_new_privs": "NoNewPrivs:\\t1" in status,
            "mknod": libc.mknod(b"/tmp/disk", 0o60600, os.stat("/").st_dev),
            "mount": libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
            "init_module": libc.syscall(175, b"", 0, b""),
            "iopl": libc.iopl(3),
        }
    """
    found = isolated.run("attacker", code)
    effective = found.pop("effective")
    assert found.pop("no_new_privs")
    assert found == dict.fromkeys(found, -1)
    if isolated.is_root:
        assert [name for bit, name in FORBIDDEN_UNDER_ROOT.items() if effective >> bit & 1] == []
        assert effective >> 0 & 1, "CAP_CHOWN, which apt-get needs"
    else:
        assert effective == 0


def test_files_that_root_writes_to_the_systems_folders_are_visible_to_its_api_only(isolated: Isolated) -> None:
    code = """
        found = []
        for folder in ("/etc", "/usr/bin", "/var/lib", "/opt"):
            path = folder + "/of-the-attacker"
            try:
                open(path, "w").close()
                found.append(path)
            except OSError:
                pass
    """
    written = isolated.run("attacker", code)
    assert len(written) == (4 if isolated.is_root else 0)
    assert isolated.run("victim", "import os; found = list(filter(os.path.exists, paths))", paths=written) == []
    assert not any(map(os.path.exists, written))


def test_devices_home_run_sys_and_the_network_are_available(isolated: Isolated) -> None:
    code = """
        import os, socket
        open("/dev/null", "w").write("x")
        note = os.path.expanduser("~/of-the-attacker")
        open(note, "w").write("x")
        os.unlink(note)
        found = [os.path.isdir("/sys/devices"), bool(os.listdir("/run")), os.path.exists("/dev/urandom")]
        found.append(socket.gethostbyname("api-victim") == socket.gethostbyname("api-attacker"))
        found.append(sorted(set(os.listdir("/mnt")) - {"project"}))
    """
    mnt = sorted({path.name for path in Path("/mnt").iterdir()} - {"project"})
    assert isolated.run("attacker", code) == [True, True, True, True, mnt]
