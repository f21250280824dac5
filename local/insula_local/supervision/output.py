"""The output of a part: written to a log file of limited size, and split into lines for the terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

LOG_BYTES_MAX: Final = 8 * 1024 * 1024
"""Greatest size of a log file. A full file is renamed to `<name>.log.1` and replaces the earlier file of that name."""
LINE_BYTES_MAX: Final = 128 * 1024
"""A longer line is cut on the terminal, but not in the log. The JSON of an ASCII traceback of 64 KiB fits."""
LAST_LINES: Final = 20


class Log:
    """A part's log, at most 2 * LOG_BYTES_MAX on disk. On a full disk, lines are lost, and the part continues."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._size = 0
        self._file: BinaryIO | None = None
        self._start()

    def write(self, data: bytes) -> None:
        """Append data. Starts a new file if the current one would exceed LOG_BYTES_MAX. Raises no OSError."""
        if self._size + len(data) > LOG_BYTES_MAX:
            self._start()
        self._size += len(data)
        if self._file is not None:
            with suppress(OSError):
                self._file.write(data)

    def close(self) -> None:
        """Close the file."""
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
            # Unbuffered, so that the file has the last lines if this process is killed.
            self._file = self.path.open("wb", buffering=0)


class Lines:
    """Splits a stream of bytes into lines, with limited memory."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Call `take` with each complete line, or with the first LINE_BYTES_MAX bytes of a longer line."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._append(piece)
            self._emit()
        self._append(rest)
        if len(self._rest) >= LINE_BYTES_MAX and not self._skipping:
            self._emit()
            self._skipping = True

    def end(self) -> None:
        """Call `take` with the last line if it has no newline."""
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
    """The last LAST_LINES lines of a part's output."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LAST_LINES)

    def add(self, line: str) -> None:
        """Add a line unless it is blank, and drop the oldest if there are more than LAST_LINES."""
        if line.strip():
            self._lines.append(line)

    def clear(self) -> None:
        """Drop all lines, because a new process starts."""
        self._lines.clear()

    def lines(self) -> list[str]:
        """Return the lines, oldest first."""
        return list(self._lines)
