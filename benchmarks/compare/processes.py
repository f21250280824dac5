"""CPU time and memory of the processes of one system, from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.processes import descendants, memory_mb

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
Roles = Mapping[int, str]
"""The role of each process, such as api or worker, by its id."""


def roles_below(root: int, role_of: Callable[[str], str]) -> dict[int, str]:
    """Return the roles of the descendants of a process, and of itself. `role_of` gets a command line."""
    return {pid: role_of(command) for pid, command in ({root: _command(root)} | descendants(root)).items()}


def cpu_s(roles: Roles) -> dict[str, float]:
    """Return the CPU time of each role so far, with that of its children that have ended."""
    used: defaultdict[str, float] = defaultdict(float)
    for pid, role in roles.items():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # ended; its parent has its time
            continue
        used[role] += sum(map(int, fields[11:15])) * TICK_S  # utime, stime, cutime, cstime (proc(5))
    return dict(used)


def resident_mb(roles: Roles) -> dict[str, float]:
    """Return the memory of each role, PSS: a page that n processes share counts as 1/n."""
    found: defaultdict[str, float] = defaultdict(float)
    for pid, role in roles.items():
        found[role] += memory_mb(pid, "Pss", "smaps_rollup")
    return dict(found)


def machine_busy_s() -> float:
    """Return the CPU time of all processes of the machine, the kernel and the host's share (steal) so far."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_S


def listens(port: int, roles: Roles) -> bool:
    """Whether one of these processes, and no other, listens at a TCP port of this machine."""
    inodes = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
    }
    ours = {f"socket:[{inode}]" for inode in inodes}
    found: set[str] = set()
    for pid in roles:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                found.add(str(descriptor.readlink()))
            except OSError:
                continue
    return bool(ours) and ours <= found


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
