"""How the worker starts a child that cannot outlive it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import insula

TETHER = Path(insula.__file__).with_name("tether.py")


def tethered(command: Sequence[str], hosts_file: Path | None = None) -> list[str]:
    """Return `command` run through `insula/tether.py`: it dies with this process, and sees `hosts_file` as /etc/hosts.

    Start it from the main thread: the kernel binds the child to the thread that made it.
    """
    hosts = ["--hosts", str(hosts_file)] if hosts_file is not None else []
    return [sys.executable, "-I", "-S", str(TETHER), "--parent", str(os.getpid()), *hosts, "--", *command]
