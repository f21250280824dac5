"""The disk of the data directory: whether it has room for a start, and one message each time it fills or empties."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from insula.stores.disk import MEBIBYTE, Room, room_of
from insula_local.settings import Refused

START_BYTES: Final = 192 * MEBIBYTE
"""SeaweedFS makes its first volume, of 128 MB, only where all of it has room; the rest is for Valkey and the logs."""


def check_room(data: Path) -> None:
    """Raise Refused unless the stores can start on the disk of `data`, which need not exist yet."""
    folder = next(path for path in (data, *data.parents) if path.exists())
    room = room_of(folder)
    needed_bytes = max(START_BYTES, room.needed_bytes)
    if room.free_bytes < needed_bytes:
        raise Refused(
            f"The disk of --data {data} has {_mebibytes(room.free_bytes)} free, and the stores need "
            f"{_mebibytes(needed_bytes)} to start. Free some space, or choose a folder on another disk with --data."
        )


class DiskNews:
    """Reports once that a disk is nearly full, and once that it has room again."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.full = False
        """Whether the last message said that the disk is full."""

    def look(self) -> str | None:
        """A sentence if something has changed."""
        return self.judge(room_of(self._data))

    def judge(self, room: Room) -> str | None:
        """The same for a disk in this state. It has room again at twice what it needs."""
        needed = _mebibytes(room.needed_bytes)
        if room.lacking and not self.full:
            self.full = True
            return (
                f"The disk of {self._data} is full: {_mebibytes(room.free_bytes)} are free, the stores need {needed}. "
                "New workloads are answered with 503 until there is room; accepted ones are kept."
            )
        if self.full and room.free_bytes >= 2 * room.needed_bytes:
            self.full = False
            return (
                f"The disk of {self._data} has room again: {_mebibytes(room.free_bytes)} are free. "
                "SeaweedFS takes large payloads again within a minute."
            )
        return None


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes // MEBIBYTE:,} MiB"
