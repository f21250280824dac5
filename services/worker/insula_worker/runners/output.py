"""Reads the output of a runner on descriptors 1 and 2 from two pipes, and cuts it into lines.

The runner writes a mark, a line with the ids of a workload, before the output of the workload. Each line belongs to the
workload of the latest mark in the same pipe. Memory is bounded: each pipe holds one line of LINE_BYTES_MAX at most. If
the LineTaker asks to wait, reading pauses. The pipe then fills, and the handler's writes block.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from insula_runner.frames import MARK_BYTES_MAX, MARK_START
from insula_worker.logs.line import LINE_BYTES_MAX, Blocks, Line, Origin, OutputFormat

READ_BYTES: Final = 8 * 1024
"""Maximum bytes of one read. It is small because an empty line becomes 200 times as long in JSON, and one read must not
block the event loop for more than a few milliseconds."""
FAREWELL_BYTES: Final = 1024 * 1024
"""Maximum bytes read after a runner's end. A pipe holds no more; further bytes come from processes that outlive it."""
LEVELS: Final = ("INFO", "WARNING")
"""Log levels of stdout and stderr. The level of stderr is only WARNING, because progress bars are written there too."""


class LineTaker(Protocol):
    """Receives the lines: the worker's log, or a test."""

    def put(self, lines: Sequence[Line]) -> None:
        """Accept lines, in their order. Must not wait."""

    def drop(self, size_bytes: int) -> None:
        """Count a line of `size_bytes` bytes that was dropped because it was too long."""

    def wait_for_room(self, resume: Callable[[], None]) -> bool:
        """Return whether reading should pause. If so, `resume` is called on the event loop when it may continue."""
        ...


class Cutter:
    """Cuts a stream into lines in bounded memory, and removes the marks, which have the ids of workloads."""

    def __init__(
        self,
        token: str,
        *,
        line: Callable[[Blocks], None],
        origin: Callable[[Origin | None], None],
        dropped: Callable[[int], None],
    ) -> None:
        """Set the callbacks.

        `line` gets each line without its newline, `origin` the ids in a mark, and `dropped` the size of a dropped line.
        """
        self._mark = f"{MARK_START}{token} ".encode()
        self._line = line
        self._origin = origin
        self._dropped = dropped
        self._rest: list[bytearray] = []
        self._rest_bytes = 0
        self._dropped_bytes = 0

    def feed(self, data: bytes) -> None:
        """Add data, and pass each complete line to the callbacks."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            if self._rest:
                self._append(piece)
                self.end()
            else:
                self._take([piece], piece)
        if rest:
            self._append(rest)

    def end(self) -> None:
        """Pass the last line to the callbacks if it has no newline. Call it at the end of the stream."""
        if self._rest:
            rest, self._rest, self._rest_bytes = self._rest, [], 0
            self._take(rest, b"".join(rest[-2:]) if len(rest) > 1 else bytes(rest[0]))

    def _append(self, piece: bytes) -> None:
        """Add a piece to the unfinished line, in blocks. One growing buffer would be copied, with twice the memory."""
        self._rest_bytes += len(piece)
        if self._rest and len(self._rest[-1]) < READ_BYTES:
            self._rest[-1] += piece
        else:
            self._rest.append(bytearray(piece))
        if self._rest_bytes > (2 * READ_BYTES if self._dropped_bytes else LINE_BYTES_MAX + MARK_BYTES_MAX):
            tail = b"".join(self._rest[-2:])[-MARK_BYTES_MAX:]  # a mark may follow text without a newline
            self._dropped_bytes += self._rest_bytes - len(tail)
            self._rest, self._rest_bytes = [bytearray(tail)], len(tail)

    def _take(self, line: Blocks, tail: bytes) -> None:
        """Pass a line, and the mark at its end if there is one, to the callbacks. `tail` is the line's end."""
        mark = tail.find(self._mark)
        if mark >= 0:
            line = _without(line, len(tail) - mark) if mark or len(line) > 1 else ()  # most marks stand alone
        size_bytes = sum(map(len, line))
        if self._dropped_bytes:
            self._dropped(self._dropped_bytes + size_bytes)
            self._dropped_bytes = 0
        elif size_bytes or mark < 0:
            self._line(line)
        if mark >= 0:
            id, _, trace_id = tail[mark + len(self._mark) :].decode("utf-8", "replace").partition(" ")
            self._origin(Origin(id, trace_id) if id else None)


def _without(line: Blocks, end_bytes: int) -> list[bytes]:
    """Return the line without its last `end_bytes` bytes, which must lie in its last two blocks."""
    blocks = [bytes(block) for block in line[-2:]]
    return [*(bytes(block) for block in line[:-2]), b"".join(blocks)[:-end_bytes]]


class _Pipe:
    """The read end of a runner's stdout or stderr, and the lines cut from its data."""

    def __init__(self, descriptor: int, token: str, format: OutputFormat, taker: LineTaker) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor: Final = descriptor
        self._format = format
        self._taker = taker
        self._lines: list[Line] = []
        self._cutter = Cutter(token, line=self._line, origin=format.set_origin, dropped=taker.drop)

    def _line(self, raw: Blocks) -> None:
        line = self._format.line(raw)
        if line is None:
            self._taker.drop(sum(map(len, raw)))
        else:
            self._lines.append(line)

    def _put_lines(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._taker.put(lines)

    def read(self) -> int | None:
        """Read at most READ_BYTES. Return the number of bytes, 0 at the end of the stream, None if there is no data."""
        try:
            data = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return None
        self._format.set_time(time.time())
        self._cutter.feed(data)
        self._put_lines()
        return len(data)

    def finish(self) -> None:
        """Read the rest, FAREWELL_BYTES at most, and close the pipe."""
        taken_bytes = 0
        while taken_bytes < FAREWELL_BYTES and (read_bytes := self.read()):
            taken_bytes += read_bytes
        self._cutter.end()
        self._put_lines()
        os.close(self.descriptor)


class RunnerOutput:
    """The pipes for stdout and stderr of one runner. They are made before its start and closed after its end."""

    def __init__(self, labels: Mapping[str, str], taker: LineTaker) -> None:
        self.token: Final = secrets.token_hex(16)
        self._labels = labels
        self._taker = taker
        self._descriptors = [os.pipe() for _ in LEVELS]
        self._pipes: list[_Pipe] = []

    @property
    def writing_ends(self) -> tuple[int, int]:
        """The write ends, which become the runner's descriptors 1 and 2."""
        (_, stdout), (_, stderr) = self._descriptors
        return stdout, stderr

    def read(self, process: int) -> None:
        """Start reading, and close the worker's copies of the write ends. Call it once the runner has them.

        `process` is the runner's pid, which is a field of each line.
        """
        for (reading, writing), level in zip(self._descriptors, LEVELS, strict=True):
            os.close(writing)
            pipe = _Pipe(reading, self.token, OutputFormat(self._labels, level, process), self._taker)
            self._pipes.append(pipe)
            self._listen_to(pipe)

    def abandon(self) -> None:
        """Close both ends of both pipes. Call it if the runner was not started."""
        for reading, writing in self._descriptors:
            os.close(reading)
            os.close(writing)

    def finish(self) -> None:
        """Read the rest and close the pipes. Processes that still write to them get EPIPE. Safe to repeat."""
        pipes, self._pipes = self._pipes, []
        for pipe in pipes:
            asyncio.get_running_loop().remove_reader(pipe.descriptor)
            pipe.finish()

    def _listen_to(self, pipe: _Pipe) -> None:
        asyncio.get_running_loop().add_reader(pipe.descriptor, self._readable, pipe)

    def _readable(self, pipe: _Pipe) -> None:
        if pipe.read() == 0 or self._taker.wait_for_room(lambda: self._resume(pipe)):
            asyncio.get_running_loop().remove_reader(pipe.descriptor)

    def _resume(self, pipe: _Pipe) -> None:
        if pipe in self._pipes:  # otherwise it was closed meanwhile
            self._listen_to(pipe)
