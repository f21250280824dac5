"""Measures the memory of a runner and everything it started, and compares it with the limit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_S: Final = 0.25
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


async def wait_until_over(pid: int, limit_bytes: int, ours: int = 0) -> int:
    """Wait until `bytes_over` is not 0, and return it."""
    while True:
        if used_bytes := await asyncio.to_thread(bytes_over, pid, limit_bytes, ours):
            return used_bytes
        await asyncio.sleep(LOOK_S)


def bytes_over(pid: int, limit_bytes: int, ours: int = 0) -> int:
    """Return how many bytes the process and its descendants use if that is more than `limit_bytes`, else 0.

    The first `ours` generations, of which the process itself is the first, do not count: they isolate the handler.
    Memory that processes share counts once, such as a model loaded before a fork. This exact sum is read only if the
    total may be over the limit, because the kernel walks all pages for it.
    """
    if _sum(pid, _resident_bytes, ours) <= limit_bytes:
        return 0
    used_bytes = _sum(pid, _own_bytes, ours)
    return used_bytes if used_bytes > limit_bytes else 0


def _sum(pid: int, of: Callable[[Path], int], ours: int) -> int:
    """Memory of a process and its descendants, by `of` their folders in /proc; 0 for those that have ended."""
    folder = Path(f"/proc/{pid}")
    try:
        own, threads = 0 if ours > 0 else of(folder), list((folder / "task").iterdir())
    except OSError:  # it ended
        return 0
    return own + sum(_sum(child, of, ours - 1) for thread in threads for child in _children(thread))


def _resident_bytes(folder: Path) -> int:
    """Resident memory, shared pages included."""
    return int((folder / "statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def _own_bytes(folder: Path) -> int:
    """Proportional set size: a page that n processes share counts as 1/n of one."""
    try:
        lines = (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    except (OSError, StopIteration):  # a kernel without it, or a process that is ending
        return _resident_bytes(folder)


def _children(thread: Path) -> list[int]:
    try:
        return [int(child) for child in (thread / "children").read_text(encoding="ascii").split()]
    except OSError:  # it ended, or the kernel was built without the file
        return []
