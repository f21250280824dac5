"""Supervises one process and prints its pid: `python -m tests.contract.local.supervisor FOLDER`.

A test kills this program with SIGKILL.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from insula_local.supervision.probes import running
from insula_local.supervision.supervise import Part, Supervised

SLEEPER = "import signal; signal.pause()"


class Printing:
    """A watcher that prints the pid of a ready part."""

    def starting(self, part: str) -> None: ...

    def ready(self, part: str, seconds: float) -> None:  # noqa: ARG002
        print(supervised.pid, flush=True)  # noqa: T201

    def died(self, part: str, how: str, again_s: float, lines: list[str]) -> None: ...


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    command = (sys.executable, "-c", SLEEPER)
    supervised = Supervised(Part("sleeper", command, dict(os.environ), folder, folder / "log", running()), Printing())
    asyncio.run(supervised.run())
