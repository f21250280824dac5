"""What a command finds in the data directory of an `insula up`: whether its stack runs, and how it is reached."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from insula.cache import cache_folder


def stack_file(data: Path) -> Path:
    """Where the stack writes how it is reached, from its start to its end: the object of `insula up --json`."""
    return data / "run" / "stack.json"


def pid_file(data: Path) -> Path:
    """Where the stack writes the id of its process."""
    return data / "run" / "pid"


def holder(data: Path) -> int | None:
    """Return the process that runs a stack on this data directory."""
    with suppress(OSError, ValueError):
        pid = int(pid_file(data).read_text())
        return pid if command_of(pid) else None
    return None


def cache_of(data: Path, environment: Mapping[str, str]) -> Path:
    """Return the cache that the stack's handlers use; it is in the data directory for a user without a home."""
    return cache_folder(environment, data / "cache")


def command_of(pid: int) -> str:
    """The command line of a process, shortened; empty if there is none of that pid."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:80]
    return ""
