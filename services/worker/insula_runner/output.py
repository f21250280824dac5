"""Marks in the output of user code, by which the supervisor finds the workload of each line.

Descriptors 1 and 2 are pipes to the supervisor. At the start and the end of a workload one line, the mark, is written
to each pipe. So the position of a line in its pipe gives its workload, independent of the socket. The marks are written
through copies of the descriptors, because user code may close or replace its stdout.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from functools import partial
from typing import Any, List

from insula_runner.frames import encode_mark
from insula_runner.user_code import call_user_code

STREAMS = ("stdout", "stderr", "__stdout__", "__stderr__")
LINE_BUFFERED = 1  # _IOLBF in glibc, musl and the BSDs


class Output:
    """The runner's copies of the two pipes. Without a token there are no pipes and no marks."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._open = False
        self._descriptors = duplicates((1, 2)) if token else []

    @property
    def descriptor(self) -> int | None:
        """The copy of stdout as it was when the runner started; None without a token."""
        return self._descriptors[0] if self._descriptors else None

    def begin(self, id: str, trace_id: str) -> None:
        """Mark that the following output belongs to this workload, and no longer to the previous one."""
        if self._descriptors:
            flush_all()
            self._mark(id, trace_id)
            self._open = True

    def end(self) -> None:
        """Mark that the following output belongs to no workload, unless the last mark did so."""
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


def duplicates(descriptors: Any) -> List[int]:
    """Return copies of descriptors. Programs that user code starts do not inherit them."""
    copies: List[int] = []
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # a process may run without stdout
            copies.append(os.dup(descriptor))
    return copies


def flush_all() -> None:
    """Flush the buffers of Python's streams. User code may have replaced the streams, so any error is possible."""
    for name in STREAMS:
        stream = getattr(sys, name, None)
        if stream is not None:
            call_user_code(partial(flush, stream))


def flush(stream: Any) -> None:
    """Flush one stream."""
    stream.flush()


def buffer_by_line() -> None:
    """Write each printed line at once although stdout is not a terminal, for Python and for the C library."""
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
