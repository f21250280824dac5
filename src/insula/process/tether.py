"""Runs a command that is killed when its parent process ends.

Does the steps between fork and exec that Python's `subprocess` cannot do safely: the parent-death signal, and, where
bubblewrap cannot run, a private /etc/hosts and dropping capabilities. `tethered` returns a command line that runs this
file as a script. The script uses only the standard library.

    python -I -S tether.py --parent PID [--hosts FILE] [--lose NUMBER ...] -- COMMAND [ARGUMENT ...]

The kernel sends the signal when the *thread* that started the child ends. So start the child from a thread that lives
as long as the process, such as the main one. Children of the command do not get the signal; kill the process group.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
HOSTS = "/etc/hosts"

_libc = ctypes.CDLL(None, use_errno=True)


def tethered(command: Sequence[str], hosts_file: Path | None = None, *, lost: Iterable[int] = ()) -> list[str]:
    """Return a command line that runs `command` until this process ends, with `hosts_file` as its /etc/hosts.

    `lost` are the numbers of capabilities that `command` does not have even if it runs as root. Start the command line
    from the main thread, because the child is killed when the thread that started it ends.
    """
    hosts = ["--hosts", str(hosts_file)] if hosts_file is not None else []
    lose = [word for number in lost for word in ("--lose", str(number))]
    return [sys.executable, "-I", "-S", __file__, "--parent", str(os.getpid()), *hosts, *lose, "--", *command]


def check(result: int, call: str) -> None:
    """Raise OSError with the name of the call, unless `result` of the libc call is 0."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def enter_mount_namespace() -> None:
    """Enter a new mount namespace. Without root this needs a user namespace, in which uid and gid stay the same."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        check(_libc.unshare(CLONE_NEWNS), "unshare")
    else:
        check(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
        # The kernel accepts a gid_map from an unprivileged process only after setgroups is denied.
        for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(line)
    check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount / private")


def bind_hosts(path: str) -> None:
    """Mount the file at `path` over /etc/hosts, for this process and its descendants only."""
    enter_mount_namespace()
    check(_libc.mount(os.fsencode(path), HOSTS.encode(), None, MS_BIND, None), f"bind {path} over {HOSTS}")


def lose_capabilities(numbers: Sequence[int]) -> None:
    """Drop these capabilities, which exec would give to root. For other users there is nothing to drop."""
    for number in numbers:
        _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def die_with(parent: int) -> None:
    """Have the kernel send SIGKILL when the parent ends. Exit at once if the parent has already ended."""
    check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    """Set the parent-death signal, bind the hosts file if there is one, and exec the command."""
    import argparse  # the processes that call `tethered` parse nothing

    parser = argparse.ArgumentParser(
        prog="tether", usage="%(prog)s --parent PID [--hosts FILE] [--lose NUMBER ...] -- COMMAND [ARGUMENT ...]"
    )
    parser.add_argument("--parent", type=int, required=True, help="pid of the process to die with")
    parser.add_argument("--hosts", help="file to show as /etc/hosts")
    parser.add_argument("--lose", type=int, action="append", default=[], help="number of a capability to drop")
    # Not with argparse, which would remove a "--" that belongs to the command.
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, command = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    if not command:
        parser.error('a command is required, after "--"')
    if arguments.hosts is not None:
        try:
            bind_hosts(arguments.hosts)
        except OSError as error:
            # The command can run without it; only the short names of other APIs are unknown.
            sys.stderr.write(f"tether: {HOSTS} is unchanged, because the private one could not be mounted: {error}\n")
            sys.stderr.flush()
    lose_capabilities(arguments.lose)
    # After the namespaces: entering a user namespace gives capabilities, and then the kernel clears the signal.
    die_with(arguments.parent)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"tether: {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
