"""The data directory: files that `insula up` keeps between runs. One stack uses it at a time."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from insula.data_directory import holder, pid_file, stack_file
from insula_local.seaweedfs.storage import Keys
from insula_local.settings import PLAIN_PATH, Refused

LAST_CHILDREN_S: Final = 5
"""Longest wait for the lock. The parts of a killed stack hold the lock until they end."""
SOCKET_PATH_BYTES_MAX: Final = 107
"""Linux' limit for the path of a Unix socket (unix(7): sun_path, without its final zero)."""
SOCKET_NAME_BYTES_MAX: Final = 64
"""Room for the longest name of a socket: an API's name has at most 42 characters."""
_LOCK_EVERY_S: Final = 0.05


def make(path: Path) -> None:
    """Make a data directory that git ignores. An existing one is not changed. Raises OSError."""
    new = not path.is_dir()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if new:
        (path / ".gitignore").write_text("*\n")


class DataDirectory:
    """An open, locked data directory. Only its user may read it, because it holds keys and payloads."""

    def __init__(self, path: Path, runtime: Path) -> None:
        """Create the directory if it does not exist, and take its lock. Raises Refused.

        If the path of the data directory is not suitable for sockets, the sockets are in a new folder in `runtime`.
        """
        self.path: Final = path.resolve()
        self._runtime: Final = runtime
        try:
            make(self.path)
            for each in (self.logs, self.run, self.valkey, self.seaweedfs):
                each.mkdir(mode=0o700, exist_ok=True)
            self.lock: Final = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            self._take_lock()
            stack_file(self.path).unlink(missing_ok=True)  # left by a killed stack
            self._remove_short_folder()
            self.sockets: Final = self._socket_folder()
            self.keys: Final = self._keys()
            _write(pid_file(self.path), f"{os.getpid()}\n")
        except OSError as error:
            raise Refused(
                f"The data directory {self.path} cannot be used: {error.strerror} ({error.filename}). "
                "Choose a directory you may write to with --data."
            ) from error

    @property
    def logs(self) -> Path:
        """Folder of the parts' logs."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Folder of the files of the current run."""
        return self.path / "run"

    @property
    def valkey(self) -> Path:
        """Folder of Valkey's append-only file."""
        return self.path / "valkey"

    @property
    def seaweedfs(self) -> Path:
        """Folder of SeaweedFS' volumes and its index."""
        return self.path / "seaweedfs"

    def remembered_ports(self) -> dict[str, int]:
        """Return the ports of the last run by name; empty if there are none."""
        with suppress(OSError, ValueError):
            return {name: int(port) for name, port in json.loads((self.path / "ports.json").read_text()).items()}
        return {}

    def remember_ports(self, ports: Mapping[str, int]) -> None:
        """Store the ports for the next run: SeaweedFS stores the addresses of its servers, so they must not change."""
        _write(self.path / "ports.json", json.dumps(dict(ports)))

    def write(self, name: str, text: str) -> Path:
        """Write a file of the current run and return its path."""
        path = self.run / name
        _write(path, text)
        return path

    def write_plain(self, name: str, text: str) -> Path:
        """Write a file of the current run to a path without special characters: boto3 expands `$` in a path."""
        path = self.sockets / name
        _write(path, text)
        return path

    def append(self, name: str, text: str) -> None:
        """Append to a file of the current run. The file is not replaced, because it is mounted in handler processes."""
        with (self.run / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def configure_seaweedfs(self, name: str, text: str) -> None:
        """Write a file into SeaweedFS' working directory, where SeaweedFS reads its configuration."""
        _write(self.seaweedfs / name, text)

    def close(self) -> None:
        """Release the directory. The lock is held until the last part that inherited it has ended."""
        for path in (pid_file(self.path), stack_file(self.path)):  # commands then find no stack
            with suppress(OSError):
                path.unlink()
        self._remove_short_folder()
        os.close(self.lock)

    def _socket_folder(self) -> Path:
        """Return the folder of the Unix sockets: `run`, or a new one elsewhere.

        A path in `run` may be too long for a socket, or have characters with a meaning in an address. Its file system
        may not support sockets, for example a folder that is shared with another system.
        """
        for left_over in self.run.glob("*.sock"):
            left_over.unlink()
        short = len(os.fsencode(self.run)) + 1 + SOCKET_NAME_BYTES_MAX <= SOCKET_PATH_BYTES_MAX
        if short and PLAIN_PATH.fullmatch(str(self.run)) and _takes_sockets(self.run):
            return self.run
        elsewhere = tempfile.mkdtemp(prefix="insula-", dir=self._runtime)
        self._short_folder.symlink_to(elsewhere)
        return Path(elsewhere)

    @property
    def _short_folder(self) -> Path:
        """The path of a link to the folder of the sockets; no link exists if this folder is `run`.

        If `insula up` is killed, the next start removes the link and the folder.
        """
        return self.run / "sockets"

    def _remove_short_folder(self) -> None:
        if self._short_folder.is_symlink():
            shutil.rmtree(self._short_folder.readlink(), ignore_errors=True)
            self._short_folder.unlink()

    def _take_lock(self) -> None:
        give_up = time.monotonic() + LAST_CHILDREN_S
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            pid = holder(self.path)
            if pid is not None or time.monotonic() > give_up:
                who = f"by the `insula up` with pid {pid}" if pid else "by a store of a stack that has ended"
                raise Refused(
                    f"The data directory {self.path} is in use {who}. Stop that one first, "
                    "or give this stack a directory of its own with --data."
                )
            time.sleep(_LOCK_EVERY_S)  # the stack was killed and its stores are ending

    def _keys(self) -> Keys:
        """Return the keys of keys.json. Missing keys are generated and stored."""
        path = self.path / "keys.json"
        text = path.read_text() if path.exists() else "{}"
        try:
            keys = Keys.parse(text)
        except (ValueError, TypeError) as error:
            raise Refused(
                f"{path} is damaged ({error}). Without its keys the objects in {self.seaweedfs} cannot be read: "
                "restore the file from a backup, or start afresh with another --data."
            ) from error
        if keys.render() != text:
            _write(path, keys.render())
        return keys


def _takes_sockets(folder: Path) -> bool:
    path = folder / "probe.sock"
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(str(path))
        except OSError:
            return False
    path.unlink()
    return True


def _write(path: Path, text: str) -> None:
    """Replace the file atomically. It is on disk when this returns."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
