"""What user code writes to descriptors 1 and 2, and how its supervisor learns which workload wrote it.

Both are pipes to the supervisor. At the start and the end of a workload one marker line goes into each, among what
was printed: so lines belong to their workload by their place in the stream, whatever the socket does meanwhile.
The markers have descriptors of their own: user code may close or replace what is called stdout.
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
LINE_BUFFERED = 1  # _IOLBF of every C library we know


class Output:
    """The runner's own hold on the two pipes. Without a token there are no pipes and nothing is marked."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._open = False
        self._descriptors = duplicates((1, 2)) if token else []

    @property
    def descriptor(self) -> int | None:
        """Where stdout went when the runner started; None if that is not ours to know."""
        return self._descriptors[0] if self._descriptors else None

    def begin(self, id: str, trace_id: str) -> None:
        """From here on, what is written belongs to the workload; that of the one before ends."""
        if self._descriptors:
            flush_all()
            self._mark(id, trace_id)
            self._open = True

    def end(self) -> None:
        """From here on, what is written belongs to no workload. Nothing happens if that is so already."""
        if self._open:
            flush_all()
            self._mark("", "")
            self._open = False

    def _mark(self, id: str, trace_id: str) -> None:
        mark = encode_mark(self._token, id, trace_id)
        for descriptor in self._descriptors:
            # User code may have closed every descriptor it found; what it prints belongs to the last workload known.
            with contextlib.suppress(OSError):
                os.write(descriptor, mark)


def duplicates(descriptors: Any) -> List[int]:
    """Return our own copies, closed in every program that user code starts."""
    copies: List[int] = []
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # the worker itself runs without it
            copies.append(os.dup(descriptor))
    return copies


def flush_all() -> None:
    """Let out what Python has buffered. The streams may be user code's own by now, and do anything."""
    for name in STREAMS:
        stream = getattr(sys, name, None)
        if stream is not None:
            call_user_code(partial(flush, stream))


def flush(stream: Any) -> None:
    """Flush whatever user code has put there."""
    stream.flush()


def buffer_by_line() -> None:
    """Let each printed line out at once, whole, although stdout is no terminal: Python's, and the C library's."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    try:
        import ctypes

        library = ctypes.CDLL(None)
        library.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t]
        library.setvbuf(ctypes.c_void_p.in_dll(library, "stdout"), None, LINE_BUFFERED, 0)
    except (ImportError, AttributeError, OSError, ValueError):
        return  # an interpreter without ctypes, or a C library with another name for it: lines of C code come late
