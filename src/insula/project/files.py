"""Selects the files of a project directory that are deployed, by the rules of Cortex.

Not deployed: the configuration file, dot files and dot folders, Python's byte code, and what `.cortexignore` matches.
A symbolic link inside the project is replaced by a copy of its target. A link to a target outside the project is an
error: the target could be a private key, and the handler may need it. `.env` at the root is always deployed, even if
it is a link to a file outside.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from insula.errors import ProjectInvalid
from insula.project.env_file import ENV_FILE, ENV_FILE_BYTES_MAX
from insula.project.text import decode

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE: Final = ".cortexignore"
MEBIBYTE: Final = 2**20
FILE_BYTES_MAX: Final = 32 * MEBIBYTE
PROJECT_BYTES_MAX: Final = 32 * MEBIBYTE
FILES_MAX: Final = 20_000
# Deep enough for any real project. It also ends cycles of links.
DEPTH_MAX: Final = 128
_BYTE_CODE_SUFFIXES: Final = (".pyc", ".pyo", ".pyd")
_BYTE_CODE_FOLDER: Final = "__pycache__"
_ENVIRONMENT_MARKS: Final = {"pyvenv.cfg", "conda-meta"}
_ADVICE: Final = f"; name what the handler does not need in {IGNORE_FILE}"


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """One file of a project. `name` is its path in the bundle, with `/`; `source` is the file itself."""

    name: str
    source: Path
    executable: bool
    size_bytes: int


def check_root(root: Path) -> None:
    """Raise ProjectInvalid unless `root` is a directory that can be a project: not the home directory, not `/`."""
    resolved = root.resolve()
    if not resolved.is_dir():
        raise ProjectInvalid(f"{root}: is not a directory")
    if resolved == Path(resolved.anchor):
        raise ProjectInvalid(f"{root}: the root of the file system cannot be a project; move the files to a new folder")
    if resolved == _home():
        raise ProjectInvalid(f"{root}: the home directory cannot be a project; move the files to a new folder")


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except RuntimeError:
        # The user has no entry in the password file, so there is no home directory.
        return None


def project_files(root: Path, config_name: str) -> tuple[ProjectFile, ...]:
    """Return the files of the project, sorted by name. `config_name` is the file name of the configuration.

    Raises ProjectInvalid if the project or a file is over a limit, or if a link leads out of the project.
    """
    check_root(root)
    walk = _Walk(root, config_name, _ignored(root))
    files = list(walk.files(root, "", 0))
    if (root / ENV_FILE).is_file():
        files.append(_env_file(root))
    return tuple(sorted(files, key=lambda file: file.name))


def _ignored(root: Path) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # the services use only the limits

    try:
        lines = decode((root / IGNORE_FILE).read_bytes()).splitlines()
    except (FileNotFoundError, IsADirectoryError):
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectInvalid(f"{IGNORE_FILE}: cannot be read: {error}") from None
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise ProjectInvalid(f"{IGNORE_FILE}: {error}") from None


def _env_file(root: Path) -> ProjectFile:
    path = root / ENV_FILE
    size_bytes = path.stat().st_size
    if size_bytes > ENV_FILE_BYTES_MAX:
        raise ProjectInvalid(f"{ENV_FILE}: must not be larger than {ENV_FILE_BYTES_MAX} bytes")
    return ProjectFile(ENV_FILE, path, executable=False, size_bytes=size_bytes)


class _Walk:
    """One walk through a project directory. It checks the limits on its way, so that a huge tree is refused early."""

    def __init__(self, root: Path, config_name: str, ignored: GitIgnoreSpec) -> None:
        self._root = root
        self._resolved_root = root.resolve()
        self._config_name = config_name
        self._ignored = ignored
        self._size_bytes = 0
        self._count = 0

    def files(self, folder: Path, prefix: str, depth: int) -> Iterator[ProjectFile]:
        """Yield the files below `folder`. `prefix` is the path of `folder` in the project, with a trailing slash."""
        if depth > DEPTH_MAX:
            raise ProjectInvalid(f"{folder}: is nested deeper than {DEPTH_MAX} folders, or linked in a circle")
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            raise ProjectInvalid(f"{folder}: cannot be read: {error.strerror}") from None
        self._count_one()
        self._check_no_environment(prefix, paths)
        for path in paths:
            name = f"{prefix}{path.name}"
            if self._left_out(name, path.name):
                continue
            status = self._status(path, name)
            if status is None:
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self.files(path, f"{name}/", depth + 1)
            else:
                yield self._file(name, path, status)

    def _check_no_environment(self, prefix: str, paths: Iterable[Path]) -> None:
        """Raise ProjectInvalid if the folder with `paths` is a Python environment: it is large and cannot be moved."""
        marks = {f"{prefix}{path.name}" for path in paths if path.name in _ENVIRONMENT_MARKS}
        if any(not self._ignored.match_file(mark) for mark in marks):
            folder = prefix.rstrip("/") or str(self._root)
            advice = f"name it in {IGNORE_FILE}" if prefix else "make it elsewhere, such as in .venv"
            packages = "and the packages that the handler needs in requirements.txt"
            raise ProjectInvalid(f"{folder}: is a Python environment, which is not deployed; {advice}, {packages}")

    def _left_out(self, name: str, base: str) -> bool:
        return (
            base.startswith(".")
            or base == _BYTE_CODE_FOLDER
            or base.endswith(_BYTE_CODE_SUFFIXES)
            or name == self._config_name
        )

    def _status(self, path: Path, name: str) -> os.stat_result | None:
        """Return the status of a file or of a link's target; None if `.cortexignore` matches. Raises ProjectInvalid."""
        try:
            own = path.lstat()
            status = None if stat.S_ISLNK(own.st_mode) else own
            if status is None and path.exists():
                status = path.stat()
            is_folder = status is not None and stat.S_ISDIR(status.st_mode)
            # In git's syntax no pattern can include a file below an ignored folder, so an ignored folder is skipped.
            if self._ignored.match_file(f"{name}/" if is_folder else name):
                return None
            if stat.S_ISLNK(own.st_mode):
                self._check_link(path, name, exists=status is not None)
        except OSError as error:
            raise ProjectInvalid(f"{path}: cannot be read: {error.strerror}") from None
        return status

    def _check_link(self, path: Path, name: str, *, exists: bool) -> None:
        target = path.resolve()
        advice = f"copy its target into the project, or name it in {IGNORE_FILE}"
        if not exists:
            raise ProjectInvalid(f"{name}: is a link to {path.readlink()}, which does not exist; {advice}")
        if not target.is_relative_to(self._resolved_root):
            raise ProjectInvalid(f"{name}: is a link that leads out of the project, to {target}; {advice}")
        if path.parent.resolve().is_relative_to(target):
            raise ProjectInvalid(f"{name}: is a link to a folder that holds it; name it in {IGNORE_FILE}")

    def _file(self, name: str, path: Path, status: os.stat_result) -> ProjectFile:
        if not stat.S_ISREG(status.st_mode):
            raise ProjectInvalid(f"{name}: is neither a file nor a folder; name it in {IGNORE_FILE}")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ProjectInvalid(f"{name!r}: file names must be UTF-8; rename it") from None
        if status.st_size > FILE_BYTES_MAX:
            raise ProjectInvalid(f"{path}: file size cannot be greater than {FILE_BYTES_MAX / MEBIBYTE} MiB{_ADVICE}")
        self._count_one()
        self._size_bytes += status.st_size
        if self._size_bytes > PROJECT_BYTES_MAX:
            limit = PROJECT_BYTES_MAX / MEBIBYTE
            raise ProjectInvalid(f"{self._root}: project size cannot exceed {limit} MiB{_ADVICE}")
        return ProjectFile(name, path, bool(status.st_mode & stat.S_IXUSR), status.st_size)

    def _count_one(self) -> None:
        # Folders count too, because links between folders can make a small tree endless.
        self._count += 1
        if self._count > FILES_MAX:
            problem = f"a project cannot have more than {FILES_MAX} files and folders"
            raise ProjectInvalid(f"{self._root}: {problem}{_ADVICE}")
