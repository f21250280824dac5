"""Data of processes from /proc. Any process may end while it is read."""

from __future__ import annotations

from pathlib import Path


def descendants(pid: int) -> dict[int, str]:
    """Return the descendants of `pid` and their command lines, parents before children, without ended processes."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # the process has ended
            continue
    found = [pid]
    for one in found:
        found += sorted(child for child, parent in parents.items() if parent == one)
    commands = {one: command_line(one) for one in found[1:]}
    return {one: command for one, command in commands.items() if command}


def command_line(pid: int) -> str:
    """Return the command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def environment(pid: int) -> list[bytes]:
    """Return the `NAME=value` entries of a process' environment, none if it has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def memory_mb(pid: int, field: str = "VmRSS", file: str = "status") -> float:
    """Return a field of /proc/<pid>/<file> in MB, 0 if the process has ended. VmRSS includes shared pages."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024  # a zombie has none
