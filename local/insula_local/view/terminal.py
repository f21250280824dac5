"""Writes to the user's terminal without ever waiting for it: a reader that stalls must not stop the supervision."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import Final

PIECE_BYTES_MAX: Final = 4096
"""What a pipe or a terminal that is writable at all takes without blocking (PIPE_BUF)."""

COLUMNS_DEFAULT: Final = 80


class Terminal:
    """A text file on a descriptor, as rich's Console wants it. What cannot be written now is dropped and counted."""

    encoding: Final = "utf-8"

    def __init__(self, fd: int) -> None:
        self._fd: Final = fd
        self._dropped = 0

    def write(self, text: str) -> int:
        """Write, or drop, the text."""
        if self._dropped and self._put(
            f"... {self._dropped} pieces of output were dropped: nobody read them\n".encode()
        ):
            self._dropped = 0
        data = text.encode(errors="replace")
        pieces = (data[start : start + PIECE_BYTES_MAX] for start in range(0, len(data), PIECE_BYTES_MAX))
        if self._dropped or not all(self._put(piece) for piece in pieces):
            self._dropped += 1
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return os.isatty(self._fd)

    def columns(self) -> int:
        """The width of the terminal; COLUMNS_DEFAULT if it does not know its own."""
        with suppress(OSError):
            return os.get_terminal_size(self._fd).columns or COLUMNS_DEFAULT
        return COLUMNS_DEFAULT

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def _put(self, piece: bytes) -> bool:
        with suppress(OSError, ValueError):
            _, writable, _ = select.select([], [self._fd], [], 0)
            return bool(writable) and os.write(self._fd, piece) == len(piece)
        return False
