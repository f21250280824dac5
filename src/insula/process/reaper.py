"""Process 1 of a container: reaps the orphans of handlers, which the kernel gives to it, and passes signals on.

Other programs do the same, but the user's other processes can read their environment, which has the worker's secrets.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType


def run_below_process_1(hide: Callable[[], None]) -> None:
    """If this is process 1, continue in a child process. Call it before the program has threads.

    Process 1 never returns from here: it calls `hide`, reaps, and exits as the child ends.
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
