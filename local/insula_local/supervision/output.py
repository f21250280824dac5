"""The output of a part: written to a log file of bounded size, and cut into lines for the terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

LOG_BYTES_MAX: Final = 8 * 1024 * 1024
"""Size of a log file. At this size the file is renamed to `<name>.log.1`, which replaces the previous one."""
LINE_BYTES_MAX: Final = 128 * 1024
"""A longer line is cut on the terminal; the log has all of it. A traceback of 64 KiB of ASCII fits as JSON."""
LAST_LINES: Final = 20


class Log:
    """A part's log: at most 2 * LOG_BYTES_MAX on disk. On a full disk lines are lost, but the part continues."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._size = 0
        self._file: BinaryIO | None = None
        self._start()

    def write(self, data: bytes) -> None:
        """Append pieces in order."""
        if self._size + len(data) > LOG_BYTES_MAX:
            self._start()
        self._size += len(data)
        if self._file is not None:
            with suppress(OSError):
                self._file.write(data)

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _start(self) -> None:
        self.close()
        self._size = 0
        with suppress(OSError):
            if self.path.exists():
                self.path.replace(self.path.with_suffix(".log.1"))
            # Unbuffered, so that the last lines before a kill of this process are in the file.
            self._file = self.path.open("wb", buffering=0)


class Lines:
    """Cuts a stream of bytes into lines, in bounded memory."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Pass on every complete line, and the start of one that is too long."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._append(piece)
            self._emit()
        self._append(rest)
        if len(self._rest) >= LINE_BYTES_MAX and not self._skipping:
            self._emit()
            self._skipping = True

    def end(self) -> None:
        """Pass on a last line without a newline."""
        if self._rest:
            self._emit()
        self._skipping = False

    def _append(self, piece: bytes) -> None:
        if not self._skipping:
            self._rest += piece[: LINE_BYTES_MAX - len(self._rest)]

    def _emit(self) -> None:
        if not self._skipping:
            self._take(self._rest.decode(errors="replace").rstrip("\r"))
        self._rest.clear()
        self._skipping = False


class Tail:
    """The last lines that a part printed."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LAST_LINES)

    def add(self, line: str) -> None:
        """Keep a line."""
        if line.strip():
            self._lines.append(line)

    def clear(self) -> None:
        """Drop the lines, because a new process starts."""
        self._lines.clear()

    def lines(self) -> list[str]:
        """The lines, oldest first."""
        return list(self._lines)
