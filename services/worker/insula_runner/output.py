"""Marks in the output of user code, by which the supervisor finds the workload of each line.

Descriptors 1 and 2 are pipes to the supervisor. A mark is a line that names the workload of the lines after it in the
same pipe. Marks are written through copies of the descriptors, because user code may close or replace its stdout.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import os
import sys
import threading
from functools import partial
from typing import Any, Callable, Dict, Generator, List, Optional

from cortex_internal.lib.log import LINE_BYTES_MAX
from insula_runner.frames import encode_mark
from insula_runner.user_code import call_user_code

STREAMS = ("stdout", "stderr", "__stdout__", "__stderr__")
LINE_BUFFERED = 1  # _IOLBF in glibc, musl and the BSDs


class PositionMarks:
    """Writes a mark at the start and the end of each workload, if workloads run one at a time.

    So the position of a line shows its workload, whether Python, C code or another program wrote the line.
    """

    def __init__(self, token: str) -> None:
        """`token` is part of each mark. If it is empty, no marks are written: no supervisor reads the output."""
        self._token = token
        self._open = False
        self._descriptors = duplicates((1, 2)) if token else []

    @property
    def write(self) -> Optional[Callable[[bytes], None]]:
        """A function that writes to the stdout with which the runner started; None if there are no marks."""
        return partial(write_all, self._descriptors[0]) if self._descriptors else None

    def begin(self, id: str, trace_id: str) -> None:
        """Mark that the following output belongs to this workload, and no longer to the previous one."""
        if self._descriptors:
            flush_all()
            self._mark(id, trace_id)
            self._open = True

    def end(self) -> None:
        """Mark that the following output belongs to no workload. If the last mark means this already, do nothing."""
        if self._open:
            flush_all()
            self._mark("", "")
            self._open = False

    def _mark(self, id: str, trace_id: str) -> None:
        mark = encode_mark(self._token, id, trace_id)
        for descriptor in self._descriptors:
            # User code may have closed all descriptors. Then its output counts for the workload of the last mark.
            with contextlib.suppress(OSError):
                os.write(descriptor, mark)


class LineMarks:
    """Writes marks around the lines that Python code prints, if several workloads run at a time.

    A context variable holds the current workload. Output of C code and of other programs gets no marks.
    """

    def __init__(self, token: str) -> None:
        """Replace stdout and stderr by streams that write marks. If the token is empty, replace and mark nothing."""
        self._token = token
        self._current: contextvars.ContextVar[Optional[Workload]] = contextvars.ContextVar("workload", default=None)
        self._streams: List[MarkedStream] = []
        descriptors = duplicates((1, 2)) if token else []
        if len(descriptors) < 2:
            return
        end = encode_mark(token, "", "")
        self._streams = [MarkedStream(number, copy, end, self._current) for number, copy in enumerate(descriptors, 1)]
        for name, stream in zip(("stdout", "stderr"), self._streams):
            replace_stream(name, stream)

    @property
    def write(self) -> Optional[Callable[[bytes], None]]:
        """A function that writes whole lines to the stdout with which the runner started; None without a token."""
        return self._streams[0].put if self._streams else None

    @contextlib.contextmanager
    def of(self, id: str, trace_id: str) -> Generator[None, None, None]:
        """In the `with` block, mark the output of the current contextvars context as that of workload `id`."""
        workload = Workload(encode_mark(self._token, id, trace_id))
        before = self._current.set(workload)
        try:
            yield
        finally:
            for stream in self._streams:
                with contextlib.suppress(OSError):
                    stream.finish_line(workload)
            self._current.reset(before)


class Workload:
    """A workload's mark, and its incomplete lines: `begun` maps 1 (stdout) and 2 (stderr) to text without a newline."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.begun: Dict[int, bytearray] = {}


class MarkedStream(io.RawIOBase):
    """Writes each whole line of a workload with a mark before and after it, in one piece."""

    def __init__(
        self, number: int, descriptor: int, end: bytes, current: contextvars.ContextVar[Optional[Workload]]
    ) -> None:
        """`number` is 1 or 2, and `descriptor` a copy of that descriptor. `end` is the mark for no workload."""
        super().__init__()
        self._number = number
        self._descriptor = descriptor
        self._end = end
        self._current = current
        self._unlock()
        os.register_at_fork(after_in_child=self._unlock)

    def _unlock(self) -> None:
        self._lock = threading.RLock()  # a finalizer or a signal handler may print while a line is written

    def writable(self) -> bool:
        """Return True: io.TextIOWrapper asks whether it may write."""
        return True

    def fileno(self) -> int:
        """Return the standard descriptor: 1 for stdout, 2 for stderr."""
        return self._number

    def isatty(self) -> bool:
        """Return False: the output is a pipe."""
        return False

    def write(self, data: Any) -> int:
        """Write complete lines at once. Hold an incomplete line of up to LINE_BYTES_MAX until its newline.

        Outside a workload, write everything at once. Returns the number of bytes in `data`.
        """
        text = bytes(data)
        workload = self._current.get()
        if workload is None:
            self._write(text)
            return len(text)
        with self._lock:
            begun = workload.begun.setdefault(self._number, bytearray())
            begun += text
            end = len(begun) if len(begun) > LINE_BYTES_MAX else begun.rfind(b"\n") + 1
            lines = bytes(begun[:end])
            del begun[:end]
            if lines:
                self._write(workload.mark + lines + self._end)
        return len(text)

    def put(self, lines: bytes) -> None:
        """Write whole lines at once, with the marks of the current workload if there is one."""
        workload = self._current.get()
        self._write(lines if workload is None else workload.mark + lines + self._end)

    def finish_line(self, workload: Workload) -> None:
        """Write the workload's last line, if it has no newline."""
        begun = workload.begun.pop(self._number, None)
        if begun:
            self._write(workload.mark + bytes(begun) + self._end)

    def _write(self, text: bytes) -> None:
        with self._lock:
            write_all(self._descriptor, text)


def replace_stream(name: str, stream: MarkedStream) -> None:
    """Replace sys.stdout or sys.stderr (`name`) by a text stream that writes to `stream`, with the same encoding."""
    old: Any = getattr(sys, name)
    encoding, errors = getattr(old, "encoding", "utf-8"), getattr(old, "errors", "backslashreplace")
    buffer: Any = stream  # a raw stream will do, as with `python -u`
    text = io.TextIOWrapper(buffer, encoding, errors, write_through=True)
    setattr(sys, name, text)
    setattr(sys, f"__{name}__", text)


def write_all(descriptor: int, text: bytes) -> None:
    """Write all bytes, in one piece if the pipe has room."""
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def duplicates(descriptors: Any) -> List[int]:
    """Return copies of those descriptors that are open. Programs that user code starts do not inherit the copies."""
    copies: List[int] = []
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # a process may run without stdout
            copies.append(os.dup(descriptor))
    return copies


def flush_all() -> None:
    """Flush the buffers of Python's streams. Ignore all errors, because user code may have replaced the streams."""
    streams = {id(stream): stream for stream in (getattr(sys, name, None) for name in STREAMS) if stream is not None}
    for stream in streams.values():
        call_user_code(partial(flush, stream))


def flush(stream: Any) -> None:
    """Flush one stream."""
    stream.flush()


def buffer_by_line() -> None:
    """Make Python's streams, and stdout of the C library, write each line at once, as on a terminal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    try:
        import ctypes

        library = ctypes.CDLL(None)
        library.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t]
        library.setvbuf(ctypes.c_void_p.in_dll(library, "stdout"), None, LINE_BUFFERED, 0)
    except (ImportError, AttributeError, OSError, ValueError):
        return  # no ctypes, or a C library without the symbol `stdout`: output of C code is delayed
