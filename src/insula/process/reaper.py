"""Process 1 of a container: reaps the orphaned child processes of handlers, and forwards signals to the service.

Common init programs do the same, but handlers could read their environment, which has the worker's secrets.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType


def run_below_process_1(hide: Callable[[], None]) -> None:
    """If this is process 1, start a child process in which the program continues. Call it before there are threads.

    In process 1 the call never returns. It calls `hide`, which hides the environment of process 1 from handlers, and
    reaps processes until the child ends. Then it exits with the child's exit code, or 128 + the signal's number.
    """
    if os.getpid() != 1:
        return
    child = os.fork()
    if child == 0:
        return
    hide()

    def forward(number: int, _: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    pid, status = 0, 0
    while pid != child:
        pid, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)
