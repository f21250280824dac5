"""The start of every service: reads the settings, runs the service and sets the exit code."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, TypeVar

from insula.errors import InsulaError
from insula.process import startup
from insula.telemetry import logs
from insula.variables import Text

Settings = TypeVar("Settings")


LOG_LEVEL: Final = Text("INSULA_LOG_LEVEL", "least level that is logged: `debug`, `info`, `warning` or `error`", "info")
MAPPED_BYTES: Final = 64 * 1024
"""Size from which a buffer is mapped separately, not put on the heap: see `give_memory_back`. gRPC's buffers for the
pieces of a payload are that large. On the heap, small objects would keep freed buffers from returning to the kernel."""
THREADS_END_S: Final = 3.0
"""How long a service that has drained waits for its threads. A DNS lookup may block a thread for a minute. The results
of all threads are no longer needed."""
_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def give_memory_back() -> None:
    """Make glibc map each buffer of MAPPED_BYTES or more, so that its memory returns to the kernel when it is freed.

    By default glibc raises this threshold when a mapped buffer is freed. Then submit kept 200 MB after twenty
    concurrent uploads. Mapping makes an upload of 30 MB 8 % slower.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other libcs have neither mallopt nor this behaviour
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)


def hide_from_others() -> None:
    """Prevent other processes of the same user from reading this process' environment and memory in /proc.

    This does not apply to programs that this process starts, because exec resets it.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # exists on Linux only
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def run_service(
    name: str,
    environment: Mapping[str, str],
    read: Callable[[Mapping[str, str]], Settings],
    run: Callable[[Settings], Coroutine[object, object, None]],
    run_loop: Callable[[Coroutine[object, object, None]], None],
) -> None:
    """Read the settings and run the service until it ends. After an InsulaError, exit with 1 and print one line.

    `run_loop` runs a coroutine in a new event loop: asyncio.run, or uvloop.run for a service that starts no handlers.
    """
    startup.begin()
    hide_from_others()
    give_memory_back()
    logs.configure(name, LOG_LEVEL.read(environment))
    failure: BaseException | None = None
    waiting = threading.Timer(THREADS_END_S, os._exit, [0])  # the loop's end waits for them without a limit
    waiting.daemon = True

    async def drained() -> None:
        await run(read(environment))
        waiting.start()

    try:
        run_loop(drained())
        waiting.cancel()
    except* InsulaError as errors:  # a task group raises its error in a group
        failure = errors.exceptions[0]
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
    if failure is not None:
        sys.exit(f"{name}: {failure}")
