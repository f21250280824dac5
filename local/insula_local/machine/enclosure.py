"""Namespaces for SeaweedFS: network, processes, IPC and files. bubblewrap makes them, also without root.

SeaweedFS' servers connect to each other over TCP, and its master deletes whole collections without authentication. In
its network namespace SeaweedFS listens on its default ports, which no other process of the machine can reach. Other
processes can reach only its Unix sockets.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_NAMESPACES: Final = ("--unshare-net", "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--cap-drop", "ALL")
_FILES: Final = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp")  # noqa: S108
_PROBE_S: Final = 10


def enclosed(bwrap: Path, command: Sequence[str], directory: Path, *writable: Path) -> tuple[str, ...]:
    """Return a command line that runs `command` in namespaces of its own, in the working directory `directory`.

    `command` can write only to `writable` and to a /tmp of its own.
    """
    program = Path(command[0])
    seen = ("--ro-bind", str(program), str(program))  # the program may be below /tmp
    written = (word for path in writable for word in ("--bind", str(path), str(path)))
    return (str(bwrap), *_NAMESPACES, *_FILES, *seen, *written, "--chdir", str(directory), "--", *command)


def obstacle(bwrap: Path | None) -> str:
    """Return why bubblewrap cannot make these namespaces on this machine; empty if it can."""
    if bwrap is None:
        return "bubblewrap is not installed"
    try:
        probe = subprocess.run(
            [bwrap, *_NAMESPACES, *_FILES, "--", "/bin/true"], capture_output=True, check=False, timeout=_PROBE_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return probe.stderr.decode(errors="replace").strip() if probe.returncode else ""
