"""The log of a worker: its own records and its handlers' output, in one order, to stdout and to the LogRing.

A line is dropped if it exceeds the size limit, or if stdout's reader reads nothing for STALL_S. Dropped lines are
counted, and a warning is logged. A slow reader never blocks the event loop, and blocks a handler for STALL_S at most.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from insula.telemetry.logs import JsonFormatter
from insula_worker.logs.line import LINE_BYTES_MAX, Line, line_fields, record_fields
from insula_worker.logs.ring import LogRing
from insula_worker.logs.stdout_writer import StdoutWriter

STALL_S: Final = 1.0
CLOSE_S: Final = 1.0


class WorkerLog:
    """Receives lines on the event loop's thread. Implements `insula_worker.runners.output.LineTaker`."""

    def __init__(self, labels: Mapping[str, str], descriptor: int = 1) -> None:
        self.ring: Final = LogRing()
        self.lines_too_long = 0
        self.lines_unread = 0
        self._unread_logged = 0
        self._labels = labels
        self._loop = asyncio.get_running_loop()
        self._writer = StdoutWriter(descriptor, self._drained)
        self._waiting: list[Callable[[], None]] = []
        self._stalled = False
        self._stall: asyncio.TimerHandle | None = None

    def put(self, lines: Sequence[Line]) -> None:
        """Add lines to the ring and to stdout's queue. Never waits; a line that the queue refuses is counted."""
        short: list[bytes] = []
        for line in lines:
            self.ring.append(line.workload, line.json)
            if line.long is None:
                short.append(line.json)
            else:
                self._write(short)
                short = []
                self.lines_unread += not self._writer.put(line.long)
        self._write(short)

    def _write(self, lines: list[bytes]) -> None:
        if lines and not self._writer.put(b"\n".join([*lines, b""])):
            self.lines_unread += len(lines)

    def say(self, line: str, workload: str) -> None:
        """Add a line of the worker itself, encoded as JSON. May be called from any thread."""
        made = [Line(workload, line.encode("ascii"))]
        try:
            on_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            on_loop = False
        if on_loop:
            self.put(made)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.put, made)

    def drop(self, size_bytes: int) -> None:
        """Count a line that was dropped because it was too long. Log a warning for the first one."""
        self.lines_too_long += 1
        if self.lines_too_long == 1:
            limit = f"the limit is {LINE_BYTES_MAX} bytes; later ones are only counted"
            self._warn(f"a log line of {size_bytes} bytes was dropped, {limit}")

    def wait_for_room(self, resume: Callable[[], None]) -> bool:
        """Return whether the caller should wait before it adds more lines.

        If so, `resume` is called once stdout's queue is empty, or after STALL_S.
        """
        if self._stalled or not self._writer.is_full:
            return False
        self._waiting.append(resume)
        if not self._writer.is_full:  # the queue emptied before `resume` was added, so `_drained` may not call it
            self._waiting.remove(resume)
            return False
        if self._stall is None:
            self._stall = self._loop.call_later(STALL_S, self._give_up)
        return True

    def close(self) -> None:
        """End the readers of the ring. Wait until the queued lines are written to stdout, CLOSE_S at most."""
        self.ring.close()
        self._writer.close(CLOSE_S)

    def _drained(self) -> None:
        """Schedule `_go_on` on the event loop if a caller waits or lines may be lost.

        The writer's thread calls this when its queue is empty.
        """
        if (self._waiting or self._stalled or self.lines_unread > self._unread_logged) and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._go_on)

    def _go_on(self) -> None:
        self._stalled = False
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        unread, self._unread_logged = self.lines_unread - self._unread_logged, self.lines_unread
        if unread:
            self._warn(f"{unread} lines were dropped: the reader of the worker's stdout took none for {STALL_S:g} s")
        self._resume_all()

    def _give_up(self) -> None:
        """Stop delaying the handlers until stdout's queue is empty. Lines may be dropped meanwhile."""
        self._stall = None
        self._stalled = True
        self._resume_all()

    def _resume_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume()

    def _warn(self, text: str) -> None:
        self.say(json.dumps(line_fields(time.time(), "WARNING", text, self._labels)), "")


class WorkerLogHandler(logging.Handler):
    """Adds the worker's own log records to a WorkerLog."""

    def __init__(self, log: WorkerLog, labels: Mapping[str, str]) -> None:
        super().__init__()
        self._log = log
        self.setFormatter(JsonFormatter(record_fields(labels)))

    def emit(self, record: logging.LogRecord) -> None:
        """Add one record. Never raises."""
        try:
            self._log.say(self.format(record), str(vars(record).get("id", "")))
        except Exception:  # noqa: BLE001 - logging's rule: a handler reports its own failure and raises nothing
            self.handleError(record)
