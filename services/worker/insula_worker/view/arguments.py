"""Makes bubblewrap's arguments for a handler's view: a pure function of plain values.

The view shows the machine's files, with these changes only:
- /tmp and /dev/shm are new.
- The handler has its own process namespace.
- The hidden folders are empty, except for the kept folders in them.
- The project is also at /mnt/project.
- Writes to the environment, and as root to the system's folders, go to the layer of the API.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from insula.process.isolation import Sandbox, lost_capabilities, own_processes
from insula_worker.view.machine import MNT, Machine

TMP: Final = Path("/tmp").resolve()  # noqa: S108 - replaced in the view; resolved: bubblewrap mounts on no symlink
VAR_TMP: Final = Path("/var/tmp").resolve()  # noqa: S108 - as above
HOSTS: Final = Path("/etc/hosts").resolve()
PROJECT: Final = MNT / "project"


@dataclass(frozen=True)
class Sight:
    """The folders of one program's view. All paths exist and contain no symbolic links.

    `tmp` becomes /tmp, and `hosts` becomes /etc/hosts. `kept` are folders, such as the models, that are visible even in
    a hidden folder. `layer` is the folder that receives the files written into the environment, and for root also
    those written into the system's folders. If `building` is true, the program writes into the environment itself.
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
    """Return bubblewrap's arguments, up to the "--" before the command.

    Order matters: a later mount covers earlier ones. The sources of mounts are paths on the machine, not in the view.
    """
    layer = sight.layer if sandbox.layers else None
    words = ["--die-with-parent", *lost_capabilities(), "--dev-bind", "/", "/"]
    words += own_processes() if sandbox.processes else []
    if machine.root and layer is not None:
        words += _system(machine, layer)
    elif layer is not None:
        # /var/tmp is the only system folder that is writable without root. A folder of the layer is mounted there, not
        # an overlay, because an overlay made without root cannot keep the owner of the original.
        words += ["--bind", str(folder_of(layer, VAR_TMP)), str(VAR_TMP)]
    words += ["--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108 - the handler's own
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
    """Return the folder in `layer` that receives the files that a program writes below `folder`."""
    return layer / "_".join(folder.parts[1:])


def work_of(layer: Path, folder: Path) -> Path:
    """Return the work folder that the kernel's overlay needs next to `folder_of`."""
    return folder_of(layer, folder).with_suffix(".work")


def _system(machine: Machine, layer: Path) -> Iterator[str]:
    """Yield arguments that mount the layer as an overlay over the system's folders.

    They also mount the mount points and sockets in these folders again. This is needed because an overlay shows one
    file system only, and sockets cannot be reached through it.
    """
    for folder in machine.system:
        yield from _writable(layer, folder, folder)
    seen: list[Path] = []
    for path in (*machine.mounts, *machine.sockets):
        inside = any(path.is_relative_to(folder) and path != folder for folder in machine.system)
        if inside and not any(path.is_relative_to(other) for other in seen):
            seen.append(path)
            yield from ("--dev-bind-try", str(path), str(path))


def _mnt(machine: Machine) -> Iterator[str]:
    """Yield arguments for a new /mnt with the entries of the machine's /mnt. The caller adds the project's folder."""
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
