"""How much memory a runner takes, with everything it started, and when that is too much."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

LOOK_S: Final = 0.25
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


async def wait_until_over(pid: int, limit_bytes: int) -> int:
    """Return how many bytes the process and its descendants use, as soon as that is more than `limit_bytes`."""
    while (used_bytes := resident_bytes(pid)) <= limit_bytes:  # noqa: ASYNC110 - the kernel sets no Event
        await asyncio.sleep(LOOK_S)
    return used_bytes


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; 0 if it has ended. Shared pages count for each of them."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:  # it ended
        return 0
    return pages * _PAGE_BYTES + sum(resident_bytes(child) for thread in threads for child in _children(thread))


def _children(thread: Path) -> list[int]:
    try:
        return [int(child) for child in (thread / "children").read_text(encoding="ascii").split()]
    except OSError:  # it ended, or the kernel was built without the file
        return []
