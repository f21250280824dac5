"""The worker's stdout, written by a thread: whoever reads it may be slow, or stand still, and the loop must not."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from insula_worker.logs.line import LongLine

FULL_BYTES: Final = 256 * 1024
"""So much may wait before whoever can wait should."""
WAITING_BYTES_MAX: Final = 4 * 1024 * 1024
"""More is refused: what one read of each pipe can become, on top of FULL_BYTES. A line beyond it passes alone."""


class StdoutWriter:
    """Lines in, in order; written by its own thread. Every method but `close` returns at once."""

    def __init__(self, descriptor: int, drained: Callable[[], None]) -> None:
        """`drained` is called in the thread whenever all that waited is written."""
        self._descriptor = descriptor
        self._drained = drained
        self._waiting: deque[bytes | LongLine] = deque()
        self._waiting_bytes = 0
        self._condition = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="stdout", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether it would be better to wait."""
        return self._waiting_bytes >= FULL_BYTES

    def put(self, lines: bytes | LongLine) -> bool:
        """Take whole lines with their newlines, or a long one; refuses them all while too much waits."""
        size_bytes = _size_bytes(lines)
        with self._condition:
            if self._closing or (self._waiting_bytes and self._waiting_bytes + size_bytes > WAITING_BYTES_MAX):
                return False
            self._waiting.append(lines)
            self._waiting_bytes += size_bytes
            self._condition.notify()
        return True

    def close(self, timeout_s: float) -> None:
        """Write what waits, if that can be done in time, and end."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closing:
                    self._condition.wait()
                if not self._waiting:
                    return
                lines = self._waiting[0]
            try:
                for piece in lines.pieces() if isinstance(lines, LongLine) else (lines,):
                    self._write(piece)
            except OSError:
                return  # nobody will ever read it; what follows is refused, and counted by whoever put it
            with self._condition:
                self._waiting.popleft()
                self._waiting_bytes -= _size_bytes(lines)
                drained = not self._waiting
            del lines  # 5 MB of a long one, until the next comes
            if drained:
                self._drained()

    def _write(self, piece: bytes) -> None:
        written_bytes = os.write(self._descriptor, piece)
        while written_bytes < len(piece):
            written_bytes += os.write(self._descriptor, memoryview(piece)[written_bytes:])


def _size_bytes(lines: bytes | LongLine) -> int:
    return lines.size_bytes if isinstance(lines, LongLine) else len(lines)
