"""Writes to the worker's stdout in a thread, so that a slow reader of stdout does not block the event loop."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from insula_worker.logs.line import LongLine

FULL_BYTES: Final = 256 * 1024
"""Callers should wait while the queue holds this many bytes or more."""
WAITING_BYTES_MAX: Final = 4 * 1024 * 1024
"""Maximum bytes in the queue; further lines are refused. A queue with FULL_BYTES still has room for the lines of one
read of each pipe. An empty queue accepts even a line that exceeds this number."""


class StdoutWriter:
    """A queue of lines and a thread that writes them in order. No method except `close` waits for the thread."""

    def __init__(self, descriptor: int, drained: Callable[[], None]) -> None:
        """`drained` is called in the writing thread whenever a write has emptied the queue."""
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
        """Whether the queue holds FULL_BYTES or more."""
        return self._waiting_bytes >= FULL_BYTES

    def put(self, lines: bytes | LongLine) -> bool:
        """Queue complete lines with their newlines, or one long line.

        Return False, and queue none of them, if the queue would exceed WAITING_BYTES_MAX or the writer is closed.
        """
        size_bytes = _size_bytes(lines)
        with self._condition:
            if self._closing or (self._waiting_bytes and self._waiting_bytes + size_bytes > WAITING_BYTES_MAX):
                return False
            self._waiting.append(lines)
            self._waiting_bytes += size_bytes
            self._condition.notify()
        return True

    def close(self, timeout_s: float) -> None:
        """Accept no more lines. Wait until the queued ones are written, `timeout_s` at most."""
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
                return  # stdout has no reader any more; once the queue is full, `put` refuses further lines
            with self._condition:
                self._waiting.popleft()
                self._waiting_bytes -= _size_bytes(lines)
                drained = not self._waiting
            del lines  # a long line takes 5 MB, which would stay allocated until the next one
            if drained:
                self._drained()

    def _write(self, piece: bytes) -> None:
        written_bytes = os.write(self._descriptor, piece)
        while written_bytes < len(piece):
            written_bytes += os.write(self._descriptor, memoryview(piece)[written_bytes:])


def _size_bytes(lines: bytes | LongLine) -> int:
    return lines.size_bytes if isinstance(lines, LongLine) else len(lines)
