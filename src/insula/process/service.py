"""The outermost frame of every service: settings in, exit code out."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, TypeVar

from insula.errors import InsulaError
from insula.process import startup
from insula.telemetry import logs
from insula.variables import Text

Settings = TypeVar("Settings")


LOG_LEVEL: Final = Text("INSULA_LOG_LEVEL", "least level that is logged: `debug`, `info`, `warning` or `error`", "info")
MAPPED_BYTES: Final = 64 * 1024
"""The pieces in which gRPC hands over a payload are as large and larger; from a heap that also holds small objects they
are given back by luck only."""
_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def give_memory_back() -> None:
    """Have glibc map every buffer of MAPPED_BYTES and more, so that freeing it gives its memory back.

    By itself it learns from the first one freed to keep the next: after twenty uploads at once, submit kept 200 MB.
    Mapping costs an upload of 30 MB 8 % of its time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # another libc has none, nor that habit
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)


def hide_from_others() -> None:
    """Keep this process' environment and memory from other processes of the same user, which could read them in /proc.

    A program that it starts has none of this: exec undoes it.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def run_service(
    name: str,
    environment: Mapping[str, str],
    read: Callable[[Mapping[str, str]], Settings],
    run: Callable[[Settings], Coroutine[object, object, None]],
) -> None:
    """Read the settings, run the service to its end; exit 1 with one line if it cannot start."""
    startup.begin()
    hide_from_others()
    give_memory_back()
    logs.configure(name, LOG_LEVEL.read(environment))
    failure: BaseException | None = None
    try:
        asyncio.run(run(read(environment)))
    except* InsulaError as errors:  # star: a task group's is one of a group
        failure = errors.exceptions[0]
    if failure is not None:
        sys.exit(f"{name}: {failure}")
