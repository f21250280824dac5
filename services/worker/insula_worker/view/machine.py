"""The facts about this machine that a handler's view depends on: mounts, sockets, the folders of Python and Insula."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

MNT: Final = Path("/mnt")
SYSTEM: Final = tuple(map(Path, ("/etc", "/opt", "/usr", "/var")))
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Machine:
    """Facts about this machine. All paths are absolute. `root` is true if the worker runs as root.

    `interpreter` is the folder of the Python installation. `system` are the folders of SYSTEM that are not symbolic
    links. `mounts` are the mount points below `/`, parents first. `sockets` are Unix sockets that a process listens on,
    which cannot be reached through a layer. `mnt` maps the name of each symbolic link in /mnt to its target, and all
    other names in /mnt to None. The whole of `mnt` is None if /mnt is a symbolic link or cannot be listed. `home` is
    the user's home folder, None without one. `ours` are the folders of Insula's environment and code.
    """

    root: bool
    system: tuple[Path, ...]
    mounts: tuple[Path, ...]
    sockets: tuple[Path, ...]
    mnt: Mapping[str, str | None] | None
    home: Path | None
    interpreter: Path
    ours: tuple[Path, ...]

    @classmethod
    def look(cls) -> Self:
        """Read the facts from the operating system."""
        return cls(
            root=os.geteuid() == 0,
            system=tuple(folder for folder in SYSTEM if folder.is_dir() and not folder.is_symlink()),
            mounts=tuple(_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))),
            sockets=tuple(_sockets(Path("/proc/net/unix").read_text(encoding="utf-8", errors="surrogateescape"))),
            mnt=_entries(MNT),
            home=_home(),
            interpreter=Path(sys.base_prefix).resolve(),
            ours=tuple(_ours()),
        )


def _mounts(table: str) -> Iterator[Path]:
    points = (_OCTAL.sub(lambda code: chr(int(code[1], 8)), line.split(" ")[4]) for line in table.splitlines())
    yield from sorted({Path(point) for point in points} - {Path("/")})


def _sockets(table: str) -> Iterator[Path]:
    paths = (line.split(" ", 7)[-1] for line in table.splitlines() if " /" in line)
    for path in sorted({Path(path[path.index("/") :]) for path in paths}):
        try:
            if stat.S_ISSOCK(path.stat().st_mode):
                yield path
        except OSError:  # it was removed, or we may not access it
            continue


def _home() -> Path | None:
    try:
        home = Path.home().resolve()
    except RuntimeError:  # the user has no entry in the password file
        return None
    return home if home.is_dir() else None


def _entries(folder: Path) -> dict[str, str | None] | None:
    if folder.is_symlink():
        return None
    try:
        paths = sorted(folder.iterdir())
        return {path.name: str(path.readlink()) if path.is_symlink() else None for path in paths}
    except OSError:
        return None


def _ours() -> Iterator[Path]:
    """Yield the environment that Insula is installed in, and the folders of sys.path outside it."""
    prefix, base = Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()
    if prefix != base:
        yield prefix
    for entry in {Path(entry).resolve() for entry in sys.path if entry}:
        if entry.is_dir() and not entry.is_relative_to(prefix) and not entry.is_relative_to(base):
            yield entry
