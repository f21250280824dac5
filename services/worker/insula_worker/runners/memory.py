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
    """Wait until `bytes_over` returns more than 0, and return its value. It is called every LOOK_S seconds."""
    while True:
        if used_bytes := await asyncio.to_thread(bytes_over, pid, limit_bytes, ours):
            return used_bytes
        await asyncio.sleep(LOOK_S)


def bytes_over(pid: int, limit_bytes: int, ours: int = 0) -> int:
    """Return the bytes that the process and its descendants use if they exceed `limit_bytes`, else 0.

    The first `ours` generations do not count: they isolate the handler. The process itself is the first generation.
    Shared memory counts once, such as a model loaded before a fork. The exact sum is slow, because the kernel walks all
    pages for it. It is read only if the resident memory exceeds the limit.
    """
    if _sum(pid, _resident_bytes, ours) <= limit_bytes:
        return 0
    used_bytes = _sum(pid, _own_bytes, ours)
    return used_bytes if used_bytes > limit_bytes else 0


def _sum(pid: int, of: Callable[[Path], int], ours: int) -> int:
    """Return the memory of a process and its descendants. `of` measures one process, given its folder in /proc.

    A process that has ended counts 0.
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
