"""Free space on the disk of stores on this machine.

SeaweedFS refuses writes if less than 1 % of its disk is free. Valkey ends if a write fails.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MEBIBYTE: Final = 2**20
ROOM_BYTES_MIN: Final = 32 * MEBIBYTE
"""Free space that is reserved for accepted workloads. With less, new workloads are refused."""
ROOM_SHARE_MIN: Final = 0.01
"""Free share of the disk below which SeaweedFS refuses writes. SeaweedFS checks the free share once a minute."""

_PLENTY: Final = 2**60


@dataclass(frozen=True, slots=True)
class Room:
    """The free space of a disk for an ordinary user, and the disk's size, in bytes."""

    free_bytes: int
    disk_bytes: int

    @property
    def needed_bytes(self) -> int:
        """Free space below which one of the stores may refuse to write."""
        return max(ROOM_BYTES_MIN, int(self.disk_bytes * ROOM_SHARE_MIN))

    @property
    def spent(self) -> bool:
        """Whether all free space is reserved for accepted workloads."""
        return self.free_bytes < ROOM_BYTES_MIN

    @property
    def lacking(self) -> bool:
        """Whether one of the stores may refuse to write."""
        return self.free_bytes < self.needed_bytes


def room_of(folder: Path) -> Room:
    """Return the room on the disk of `folder`: none if no inode is free, and plenty if the disk cannot be read."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return Room(_PLENTY, _PLENTY)
    no_inode = found.f_files > 0 and found.f_favail == 0
    return Room(0 if no_inode else found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
