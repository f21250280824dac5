"""Run a command that cannot outlive the process that started it.

Owns the last steps between fork and exec that Python's `subprocess` cannot do safely itself: the parent-death signal,
and, where bubblewrap cannot run, a private /etc/hosts and the loss of capabilities. `tethered` makes the command line,
which runs this file as a script: it needs the standard library and nothing else.

    python -I -S tether.py --parent PID [--hosts FILE] [--lose NUMBER ...] -- COMMAND [ARGUMENT ...]

The signal is bound to the *thread* that spawned us: spawn from a thread that lives as long as the process, such as the
main one. It covers the command, not what the command starts; end those through the process group.
"""

from __future__ import annotations

import argparse
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
    """Return `command` so that it dies with this process, and sees `hosts_file` as /etc/hosts.

    `lost` are the numbers of capabilities that it does not have under root. Start it from the main thread: the kernel
    binds the child to the thread that made it.
    """
    hosts = ["--hosts", str(hosts_file)] if hosts_file is not None else []
    lose = [word for number in lost for word in ("--lose", str(number))]
    return [sys.executable, "-I", "-S", __file__, "--parent", str(os.getpid()), *hosts, *lose, "--", *command]


def check(result: int, call: str) -> None:
    """Raise OSError, naming the call, if a libc call did not return 0."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def enter_mount_namespace() -> None:
    """Leave the parent's mount table. Without root this takes a user namespace in which we keep our own ids."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        check(_libc.unshare(CLONE_NEWNS), "unshare")
    else:
        check(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
        # The kernel takes a gid_map from an unprivileged writer only once setgroups is denied.
        for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(line)
    check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount / private")


def bind_hosts(path: str) -> None:
    """Put the file at `path` in the place of /etc/hosts, for this process and its descendants only."""
    enter_mount_namespace()
    check(_libc.mount(os.fsencode(path), HOSTS.encode(), None, MS_BIND, None), f"bind {path} over {HOSTS}")


def lose_capabilities(numbers: Sequence[int]) -> None:
    """Make the command, which root's exec would give every capability, do without these. Others have none to lose."""
    for number in numbers:
        _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def die_with(parent: int) -> None:
    """Ask for SIGKILL when our parent dies, and exit now if it already has."""
    check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    """Tie ourselves to the parent, bind the hosts file if asked, and become the command."""
    parser = argparse.ArgumentParser(
        prog="tether", usage="%(prog)s --parent PID [--hosts FILE] [--lose NUMBER ...] -- COMMAND [ARGUMENT ...]"
    )
    parser.add_argument("--parent", type=int, required=True, help="pid of the process to die with")
    parser.add_argument("--hosts", help="file to show as /etc/hosts")
    parser.add_argument("--lose", type=int, action="append", default=[], help="number of a capability to drop")
    # Split by hand: argparse would also take a "--" that belongs to the command.
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, command = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    if not command:
        parser.error('a command is required, after "--"')
    if arguments.hosts is not None:
        try:
            bind_hosts(arguments.hosts)
        except OSError as error:
            # Only the short names of other APIs are lost by this; the command itself can run.
            sys.stderr.write(f"tether: {HOSTS} stays as it is, the private one could not be bound: {error}\n")
            sys.stderr.flush()
    lose_capabilities(arguments.lose)
    # After the namespace: the kernel clears the signal when a process gains capabilities, as in a new user namespace.
    die_with(arguments.parent)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"tether: {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
