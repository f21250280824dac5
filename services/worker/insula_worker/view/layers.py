"""The writable layers of an API, which hold the changes that its dependencies.sh and its handler make to the machine.

Owns the folder `<environment>.layers`, next to the environment. It has one layer for each API, which is used again at
the API's next start. If another version of the API uses the layer, a second layer is made, because the kernel does not
allow two mounts of one layer.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from insula_worker.view.arguments import VAR_TMP, folder_of, work_of
from insula_worker.view.machine import SYSTEM

ENVIRONMENT: Final = Path("/environment")
LOCK: Final = "lock"
OWNER_CHARACTERS: Final = 16


class Layer:
    """A locked layer. It stays locked until it is released or the worker ends."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder: Final = folder
        self._lock: Final = lock

    def release(self) -> None:
        """Unlock the layer, so that the next start of the API can use it."""
        os.close(self._lock)


def take_layer(environment: Path, api: str, scratch: Path) -> Layer:
    """Lock and return a layer of this API for this environment. It is empty the first time.

    `scratch` is the worker's scratch folder. It identifies the worker, because other stacks may use the same API name.
    Layers whose scratch folder no longer exists are removed.
    """
    every = _layers_of(environment)
    every.mkdir(parents=True, exist_ok=True)
    _prune(every)
    owner = hashlib.sha256(str(scratch).encode()).hexdigest()[:OWNER_CHARACTERS]
    for number in itertools.count():
        folder = every / f"{api}-{owner}-{number}"
        lock = _try_lock(folder)
        if lock is not None:
            (folder / "of").write_text(f"{scratch}\n")
            _make_folders(folder)
            return Layer(folder, lock)
    raise AssertionError("count ends never")


def empty_layers(environment: Path, own: Path | None) -> None:
    """Empty the layers of an environment, except layers that others have locked. `own` is the caller's layer."""
    for folder in _folders(environment):
        lock = None if folder == own else _try_lock(folder)
        if folder == own or lock is not None:
            for each in _contents(folder):
                remove(each)
        if folder == own:
            _make_folders(folder)
        if lock is not None:
            os.close(lock)


def remove(folder: Path) -> None:
    """Remove a folder, including folders in it without read permission. Files that cannot be removed stay."""
    for path, folders, _ in os.walk(folder):
        for name in folders:
            with suppress(OSError):
                if not Path(path, name).is_symlink():
                    Path(path, name).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _layers_of(environment: Path) -> Path:
    return environment.with_name(f"{environment.name}.layers")


def _folders(environment: Path) -> list[Path]:
    every = _layers_of(environment)
    return [path for path in every.iterdir() if path.is_dir()] if every.is_dir() else []


def _contents(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def _make_folders(folder: Path) -> None:
    for each in (*SYSTEM, ENVIRONMENT, VAR_TMP):
        folder_of(folder, each).mkdir(exist_ok=True)
        work_of(folder, each).mkdir(exist_ok=True)
    for each in SYSTEM:  # an overlay shows the mode of the layer's folder, not of the original
        with suppress(OSError):
            folder_of(folder, each).chmod(each.stat().st_mode & 0o7777)
    folder_of(folder, VAR_TMP).chmod(0o1777)


def _try_lock(folder: Path) -> int | None:
    """Return the descriptor that holds the lock, or None if another process holds it."""
    folder.mkdir(exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _prune(every: Path) -> None:
    for folder in every.iterdir():
        try:
            gone = not Path((folder / "of").read_text().rstrip("\n")).exists()
        except OSError:  # another worker is creating it
            continue
        lock = _try_lock(folder) if gone else None
        if lock is not None:
            remove(folder)
            os.close(lock)
