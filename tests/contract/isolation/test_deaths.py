"""When a worker is killed, every process that its handler started ends, with and without a process namespace."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.contract.isolation.conftest import Isolated
from tests.processes import command_line, descendants
from tests.waiting import until_blocking

LEAVES_A_DAEMON = """
import os, subprocess
word = "of-a-killed-worker"
subprocess.Popen(["sh", "-c", f"trap '' HUP TERM; setsid sleep 86399.5 & wait # {word}"], start_new_session=True)
found = os.getpid()
"""
WORDS = ("of-a-killed-worker", "sleep 86399.5")


def left() -> list[int]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in pids if any(word in command_line(pid) for word in WORDS)]


def test_the_handler_and_its_daemons_end_with_the_worker(isolated: Isolated) -> None:
    isolated.run("victim", LEAVES_A_DAEMON)
    until_blocking(lambda: len(left()) >= 2)
    for pid, command in descendants(isolated.stack.pid).items():
        if " -m insula_worker" in command:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    until_blocking(lambda: not left())
    assert isolated.run("victim", "found = 'served again'") == "served again"
