"""Files in the data directory of a stack, from which commands read whether the stack runs, and its addresses."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from insula.cache import cache_folder


def stack_file(data: Path) -> Path:
    """Return the path of the file with the stack's addresses (`insula up --json`). It exists while the stack runs."""
    return data / "run" / "stack.json"


def pid_file(data: Path) -> Path:
    """Return the path of the file with the stack's process id."""
    return data / "run" / "pid"


def holder(data: Path) -> int | None:
    """Return the id of the process that runs a stack in this data directory; None if no stack runs."""
    with suppress(OSError, ValueError):
        pid = int(pid_file(data).read_text())
        return pid if command_of(pid) else None
    return None


def cache_of(data: Path, environment: Mapping[str, str]) -> Path:
    """Return the stack's cache folder. For a user without a home directory it is `cache` in the data directory."""
    return cache_folder(environment, data / "cache")


def command_of(pid: int) -> str:
    """Return the first 80 characters of a process' command line; empty if no process has this pid."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:80]
    return ""
