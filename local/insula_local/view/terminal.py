"""Writes to the user's terminal without blocking, so that a slow reader does not stop the supervision."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import Final

PIECE_BYTES_MAX: Final = 4096
"""A writable pipe or terminal accepts this much without blocking (PIPE_BUF)."""

COLUMNS_DEFAULT: Final = 80


class Terminal:
    """A text file on a descriptor, with the methods that rich's Console uses. Output that would block is dropped."""

    encoding: Final = "utf-8"

    def __init__(self, fd: int) -> None:
        self._fd: Final = fd
        self._dropped = 0

    def write(self, text: str) -> int:
        """Write the text, or drop it if writing would block. Writes first how many texts were dropped before.

        Returns len(text), also for a dropped text.
        """
        if self._dropped and self._put(
            f"... {self._dropped} pieces of output were dropped, because the reader was too slow\n".encode()
        ):
            self._dropped = 0
        data = text.encode(errors="replace")
        pieces = (data[start : start + PIECE_BYTES_MAX] for start in range(0, len(data), PIECE_BYTES_MAX))
        if self._dropped or not all(self._put(piece) for piece in pieces):
            self._dropped += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def isatty(self) -> bool:
        """Whether the descriptor is a terminal."""
        return os.isatty(self._fd)

    def columns(self) -> int:
        """Return the width of the terminal; COLUMNS_DEFAULT if it is unknown."""
        with suppress(OSError):
            return os.get_terminal_size(self._fd).columns or COLUMNS_DEFAULT
        return COLUMNS_DEFAULT

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._fd

    def _put(self, piece: bytes) -> bool:
        with suppress(OSError, ValueError):
            _, writable, _ = select.select([], [self._fd], [], 0)
            return bool(writable) and os.write(self._fd, piece) == len(piece)
        return False
