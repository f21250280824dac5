"""Which words make bubblewrap show a handler its view: a pure function of plain values.

The view is the machine's, with these changes only: /tmp and /dev/shm are new, the processes are the handler's own, the
hidden folders are empty but for what is kept of them, the project is also at /mnt/project, and what is written to the
environment and, under root, to the system's folders goes to the layer of the API.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from insula.process.isolation import Sandbox, lost_capabilities, own_processes
from insula_worker.view.machine import MNT, Machine

TMP: Final = Path("/tmp").resolve()  # noqa: S108 - the one that is replaced; bubblewrap mounts on no link
VAR_TMP: Final = Path("/var/tmp").resolve()  # noqa: S108 - as above
HOSTS: Final = Path("/etc/hosts").resolve()
PROJECT: Final = MNT / "project"


@dataclass(frozen=True)
class Sight:
    """What one program is to see. All paths exist, and none leads through a link.

    `tmp` becomes /tmp. `kept` stays usable wherever it lies: the project, its models. `layer` takes what is written to
    the environment, and under root to the folders of the system; the environment itself is written to if `building`.
    `hosts` becomes /etc/hosts.
    """

    project: Path
    tmp: Path
    hidden: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    environment: Path | None = None
    layer: Path | None = None
    building: bool = False
    hosts: Path | None = None


def arguments(sandbox: Sandbox, machine: Machine, sight: Sight) -> list[str]:
    """Return bubblewrap's arguments, up to the "--" that the command follows.

    Order matters: what comes later covers what came before. Sources are looked up on the machine, not in the view.
    """
    layer = sight.layer if sandbox.layers else None
    words = ["--die-with-parent", *lost_capabilities(), "--dev-bind", "/", "/"]
    words += own_processes() if sandbox.processes else []
    if machine.root and layer is not None:
        words += _system(machine, layer)
    elif layer is not None:
        # Without root nothing else of these folders can be written to, and a layer could not even take this one: it
        # cannot hold the owner of the original.
        words += ["--bind", str(folder_of(layer, VAR_TMP)), str(VAR_TMP)]
    words += ["--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108 - a new one
    words += _mnt(machine) if machine.mnt is not None else []
    words += ["--bind", str(sight.tmp), str(TMP)]
    if machine.home is not None and _is_covered(machine.home, machine):
        words += _bind("--bind", machine.home)
    words += _bind("--ro-bind", machine.interpreter) if machine.interpreter.is_relative_to(TMP) else []
    for folder in machine.ours:
        words += _bind("--ro-bind", folder)
    hidden = [*sight.hidden, *([sight.environment.parent] if sight.environment is not None else [])]
    for folder in hidden:
        words += ["--perms", "0700", "--tmpfs", str(folder)]
    words += _environment(sight, layer)
    for folder in (sight.project, *sight.kept):
        words += _bind("--bind", folder)
    if machine.mnt is not None:
        words += ["--bind", str(sight.project), str(PROJECT)]
    for folder in hidden:
        words += ["--remount-ro", str(folder)]
    if sight.hosts is not None:
        words += ["--ro-bind", str(sight.hosts), str(HOSTS)]
    return [*words, "--chdir", str(sight.project), "--"]


def folder_of(layer: Path, folder: Path) -> Path:
    """Return where the layer keeps what was written below a folder."""
    return layer / "_".join(folder.parts[1:])


def work_of(layer: Path, folder: Path) -> Path:
    """Return the kernel's own folder beside it."""
    return folder_of(layer, folder).with_suffix(".work")


def _system(machine: Machine, layer: Path) -> Iterator[str]:
    """A layer shows one file system only: what is mounted below it is put back, and so are sockets."""
    for folder in machine.system:
        yield from _writable(layer, folder, folder)
    seen: list[Path] = []
    for path in (*machine.mounts, *machine.sockets):
        inside = any(path.is_relative_to(folder) and path != folder for folder in machine.system)
        if inside and not any(path.is_relative_to(other) for other in seen):
            seen.append(path)
            yield from ("--dev-bind-try", str(path), str(path))


def _mnt(machine: Machine) -> Iterator[str]:
    """A new /mnt with everything that is in the machine's: the place for the project cannot be made in that one."""
    yield from ("--tmpfs", str(MNT))
    for name, target in (machine.mnt or {}).items():
        path = str(MNT / name)
        if path != str(PROJECT):
            yield from ("--symlink", target, path) if target is not None else ("--dev-bind-try", path, path)


def _environment(sight: Sight, layer: Path | None) -> list[str]:
    if sight.environment is None:
        return []
    if sight.building or layer is None:
        return _bind("--bind", sight.environment)
    return list(_writable(layer, sight.environment, Path("/environment")))


def _writable(layer: Path, folder: Path, name: Path) -> Iterator[str]:
    yield from ("--overlay-src", str(folder), "--overlay", str(folder_of(layer, name)), str(work_of(layer, name)))
    yield str(folder)


def _is_covered(folder: Path, machine: Machine) -> bool:
    covers = (TMP, *(machine.system if machine.root else (VAR_TMP,)))
    return any(folder.is_relative_to(cover) for cover in covers)


def _bind(kind: str, folder: Path) -> list[str]:
    return [kind, str(folder), str(folder)]
