"""Space on the disk of the data directory: the check before the start, and messages when the disk is full."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from insula.stores.disk import MEBIBYTE, Room, room_of
from insula_local.settings import Refused

START_BYTES: Final = 192 * MEBIBYTE
"""Free space that a start needs. SeaweedFS' first volume needs 128 MB of it. The rest is for Valkey and the logs."""


def check_room(data: Path) -> None:
    """Raise Refused if the disk of `data` is too full for the stores to start. `data` need not exist yet."""
    folder = next(path for path in (data, *data.parents) if path.exists())
    room = room_of(folder)
    needed_bytes = max(START_BYTES, room.needed_bytes)
    if room.free_bytes < needed_bytes:
        raise Refused(
            f"The disk of --data {data} has {_mebibytes(room.free_bytes)} free, and the stores need "
            f"{_mebibytes(needed_bytes)} to start. Free some space, or choose a folder on another disk with --data."
        )


class DiskWatch:
    """Makes the messages for the user: one when the disk is full, and one when it has room again."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.full = False
        """Whether the last message reported a full disk."""

    def look(self) -> str | None:
        """Read the free space. Return a message if the disk has become full or has room again, else None."""
        return self.change(room_of(self._data))

    def change(self, room: Room) -> str | None:
        """Return the message of `look` for the free space in `room`.

        The disk is full below `room.needed_bytes` of free space. It has room again at twice that size.
        """
        needed = _mebibytes(room.needed_bytes)
        if room.lacking and not self.full:
            self.full = True
            return (
                f"The disk of {self._data} is full: {_mebibytes(room.free_bytes)} are free, the stores need {needed}. "
                "New workloads get 503 until there is room. Accepted workloads are kept."
            )
        if self.full and room.free_bytes >= 2 * room.needed_bytes:
            self.full = False
            return (
                f"The disk of {self._data} has room again: {_mebibytes(room.free_bytes)} are free. "
                "SeaweedFS accepts large payloads again within a minute."
            )
        return None


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes // MEBIBYTE:,} MiB"
