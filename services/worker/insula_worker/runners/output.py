"""The output of a runner on descriptors 1 and 2: two pipes, read in small steps and cut into lines.

Each line belongs to the workload whose mark came before it in the same pipe. Memory is bounded: one line of
LINE_BYTES_MAX for each pipe. If the taker of the lines asks to wait, the pipe fills, and the handler's write waits too.
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
"""Bytes in one read. It takes the loop a few milliseconds at most: an empty line grows two hundredfold as JSON."""
FAREWELL_BYTES: Final = 1024 * 1024
"""Bytes read after a runner's end. Its pipe held no more; anything beyond comes from programs that outlive it."""
LEVELS: Final = ("INFO", "WARNING")
"""Levels of the lines of stdout and of stderr. Warnings, tracebacks and progress bars all go to stderr."""


class LineTaker(Protocol):
    """Receives the lines: the worker's log, or a test."""

    def put(self, lines: Sequence[Line]) -> None:
        """Take lines; never waits."""

    def drop(self, size_bytes: int) -> None:
        """Called for a line that was too long."""

    def wait_for_room(self, resume: Callable[[], None]) -> bool:
        """Return whether to wait. If so, `resume` is called on the loop when reading may continue."""
        ...


class Cutter:
    """Cuts a stream into lines, in bounded memory, and takes the marks out."""

    def __init__(
        self,
        token: str,
        *,
        line: Callable[[Blocks], None],
        origin: Callable[[Origin | None], None],
        dropped: Callable[[int], None],
    ) -> None:
        """`line` gets each line without its end, `origin` the ids in a mark, `dropped` the size of a dropped line."""
        self._mark = f"{MARK_START}{token} ".encode()
        self._line = line
        self._origin = origin
        self._dropped = dropped
        self._rest: list[bytearray] = []
        self._rest_bytes = 0
        self._dropped_bytes = 0

    def feed(self, data: bytes) -> None:
        """Pass on every complete line."""
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
        """Pass on a last line without a newline."""
        if self._rest:
            rest, self._rest, self._rest_bytes = self._rest, [], 0
            self._take(rest, b"".join(rest[-2:]) if len(rest) > 1 else bytes(rest[0]))

    def _append(self, piece: bytes) -> None:
        """Keep a piece of a line, in blocks: a single buffer would be copied as it grows and need twice the memory."""
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
        """Take a line. `tail` is its last MARK_BYTES_MAX bytes at least, or all of a shorter line."""
        mark = tail.find(self._mark)
        if mark >= 0:
            line = _without(line, len(tail) - mark)
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
    """The line less its last bytes, which are few."""
    blocks = [bytes(block) for block in line[-2:]]
    return [*(bytes(block) for block in line[:-2]), b"".join(blocks)[:-end_bytes]]


class _Pipe:
    """The reading end of one of the two pipes, and the lines cut from it."""

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

    def _hand_on(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._taker.put(lines)

    def read(self) -> int | None:
        """Read at most READ_BYTES. Returns the number of bytes, 0 at the end, None if no data is there now."""
        try:
            data = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return None
        self._format.set_time(time.time())
        self._cutter.feed(data)
        self._hand_on()
        return len(data)

    def finish(self) -> None:
        """Read the rest and close."""
        taken_bytes = 0
        while taken_bytes < FAREWELL_BYTES and (read_bytes := self.read()):
            taken_bytes += read_bytes
        self._cutter.end()
        self._hand_on()
        os.close(self.descriptor)


class RunnerOutput:
    """Both pipes of one runner. They exist from before its start until after its end."""

    def __init__(self, labels: Mapping[str, str], taker: LineTaker) -> None:
        self.token: Final = secrets.token_hex(16)
        self._labels = labels
        self._taker = taker
        self._descriptors = [os.pipe() for _ in LEVELS]
        self._pipes: list[_Pipe] = []

    @property
    def writing_ends(self) -> tuple[int, int]:
        """The writing ends, which become the runner's descriptors 1 and 2."""
        (_, stdout), (_, stderr) = self._descriptors
        return stdout, stderr

    def read(self, process: int) -> None:
        """Start reading once the runner `process` holds the writing ends; close our copies."""
        for (reading, writing), level in zip(self._descriptors, LEVELS, strict=True):
            os.close(writing)
            pipe = _Pipe(reading, self.token, OutputFormat(self._labels, level, process), self._taker)
            self._pipes.append(pipe)
            self._listen_to(pipe)

    def abandon(self) -> None:
        """Close everything: the runner was not started."""
        for reading, writing in self._descriptors:
            os.close(reading)
            os.close(writing)

    def finish(self) -> None:
        """Read the rest and close. Programs of the runner that still write get EPIPE. Safe to repeat."""
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
