"""Measures the memory of runners and of everything they started, and compares it with a limit."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Measured(NamedTuple):
    """A process tree that is measured. `pid` is its root.

    Its first `ours` levels are not measured: each is a process of Insula that only isolates the handler.
    """

    pid: int
    ours: int = 0


def bytes_over(processes: Sequence[Measured], limit_bytes: int) -> list[int]:
    """Return the bytes that each process and its descendants use. Empty if their sum is `limit_bytes` at most.

    Shared memory, such as a model loaded before a fork, counts once. The exact sum is slow, because the kernel walks
    all pages for it. So the exact sum is read only if the resident memory exceeds the limit.
    """
    if sum(_sum(pid, _resident_bytes, ours) for pid, ours in processes) <= limit_bytes:
        return []
    used_bytes = [_sum(pid, _own_bytes, ours) for pid, ours in processes]
    return used_bytes if sum(used_bytes) > limit_bytes else []


def _sum(pid: int, of: Callable[[Path], int], ours: int) -> int:
    """Return the bytes of memory of a process and its descendants. An ended process counts 0.

    `of` returns the bytes of one process, given its folder in /proc. The first `ours` levels of the tree count 0.
    """
    folder = Path(f"/proc/{pid}")
    try:
        own, threads = 0 if ours > 0 else of(folder), list((folder / "task").iterdir())
    except OSError:  # it ended
        return 0
    return own + sum(_sum(child, of, ours - 1) for thread in threads for child in _children(thread))


def _resident_bytes(folder: Path) -> int:
    """Return the resident memory, shared pages included."""
    return int((folder / "statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def _own_bytes(folder: Path) -> int:
    """Return the proportional set size: a page that n processes share counts as 1/n of a page."""
    try:
        lines = (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    except (OSError, StopIteration):  # the kernel has no smaps_rollup, or the process is ending
        return _resident_bytes(folder)


def _children(thread: Path) -> list[int]:
    try:
        return [int(child) for child in (thread / "children").read_text(encoding="ascii").split()]
    except OSError:  # it ended, or the kernel was built without the file
        return []
