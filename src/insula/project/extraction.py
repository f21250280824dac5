"""Unpacks a bundle from a request. It cannot write outside the target folder, and its size is limited."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

from insula.errors import ProjectInvalid
from insula.project.env_file import ENV_FILE, ENV_FILE_BYTES_MAX
from insula.project.files import DEPTH_MAX, FILE_BYTES_MAX, FILES_MAX, IGNORE_FILE, PROJECT_BYTES_MAX

# The limit of DeployApi: the limit of a project, and room for file names.
BUNDLE_BYTES_MAX: Final = 40 * 2**20
# Room for 20,000 long names. zipfile reads the directory into memory, so its size is checked before.
DIRECTORY_BYTES_MAX: Final = 8 * 2**20
# The limits of Linux, minus room for the path of the target folder.
NAME_BYTES_MAX: Final = 256
PATH_BYTES_MAX: Final = 3_072
_END_RECORD: Final = struct.Struct("<4s4H2LH")
_END_SIGNATURE: Final = b"PK\5\6"
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED: Final = 0x1
_CHUNK_BYTES: Final = 2**20
_FEWER: Final = f"name what the handler does not need in {IGNORE_FILE}"


def extract(data: bytes, target: Path) -> int:
    """Unpack the bundle `data` into `target`, which must be empty or missing, and return the number of files.

    Every entry is checked before the first one is written. Raises ProjectInvalid for an archive that is damaged, over a
    limit, or has entries other than files and folders below its root. `target` may then contain a part of the files.
    """
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty")
    with _opened(data) as (bundle, entries):
        for entry in entries:
            _write(bundle, entry, target)
        return len(entries)


def check(data: bytes) -> int:
    """Return the number of files in the bundle `data`. Raises ProjectInvalid if `extract` would."""
    with _opened(data) as (bundle, entries):
        for entry in entries:
            with bundle.open(entry) as source:
                while source.read(_CHUNK_BYTES):
                    pass
        return len(entries)


@contextlib.contextmanager
def _opened(data: bytes) -> Generator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Open the archive, check all entries, and yield the archive and its entries that are files.

    Raises ProjectInvalid.
    """
    _check_size(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            entries = list(_checked(bundle.infolist()))
            _check_folders(entries)
            yield bundle, entries
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise ProjectInvalid(f"the bundle is damaged: {error}; deploy the project again") from None


def _check_folders(entries: list[zipfile.ZipInfo]) -> None:
    """Raise ProjectInvalid if a file is below another file, or there are more than FILES_MAX files and folders."""
    names = {entry.filename for entry in entries}
    folders: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
        if len(names) + len(folders) > FILES_MAX:
            raise ProjectInvalid(f"the bundle holds more than {FILES_MAX} files and folders; {_FEWER}")
    if both := names & folders:
        raise ProjectInvalid(f"the bundle is refused: {min(both)!r} is both a file and a folder")


def _check_size(data: bytes) -> None:
    """Raise ProjectInvalid if the archive or its list of files is too large, or does not end as `collect` ends it."""
    if len(data) > BUNDLE_BYTES_MAX:
        raise ProjectInvalid(f"the bundle is larger than {BUNDLE_BYTES_MAX} bytes")
    end = data[-_END_RECORD.size :]
    if len(end) < _END_RECORD.size or not end.startswith(_END_SIGNATURE):
        raise ProjectInvalid("the bundle is damaged: it does not end as a zip archive without a comment")
    _, _, _, _, count, directory_bytes, _, _ = _END_RECORD.unpack(end)
    if count > FILES_MAX or directory_bytes > DIRECTORY_BYTES_MAX:
        raise ProjectInvalid(f"the bundle holds more than {FILES_MAX} files, or their names are too long")


def _checked(entries: list[zipfile.ZipInfo]) -> Iterator[zipfile.ZipInfo]:
    """Yield the entries that are files. Raises ProjectInvalid for the first entry that is not allowed."""
    if len(entries) > FILES_MAX:
        raise ProjectInvalid(f"the bundle holds more than {FILES_MAX} files and folders; {_FEWER}")
    names: set[str] = set()
    size_bytes = 0
    for entry in entries:
        problem = _problem(entry)
        if problem is None and entry.filename in names:
            problem = "occurs twice"
        if problem:
            raise ProjectInvalid(f"the bundle is refused: {entry.filename!r} {problem}")
        names.add(entry.filename)
        size_bytes += entry.file_size
        if size_bytes > PROJECT_BYTES_MAX + ENV_FILE_BYTES_MAX:
            raise ProjectInvalid(f"the bundle is refused: its files hold more than {PROJECT_BYTES_MAX} bytes")
        if not entry.is_dir():
            yield entry


def _problem(entry: zipfile.ZipInfo) -> str | None:
    """Return why `entry` is not allowed, or None."""
    parts = entry.filename.removesuffix("/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    limit = ENV_FILE_BYTES_MAX if entry.filename == ENV_FILE else FILE_BYTES_MAX
    rules = (
        # This includes absolute names, because their first part is empty.
        (not {"", ".", ".."}.isdisjoint(parts), "leads out of the project"),
        ("\0" in entry.orig_filename, "has a null character in its name"),
        (_is_too_long(parts), "is longer than a file system allows"),
        (len(parts) > DEPTH_MAX + 1, f"is nested deeper than {DEPTH_MAX} folders"),
        (kind not in {0, stat.S_IFREG, stat.S_IFDIR}, "is a link or a special file"),
        (bool(entry.flag_bits & _ENCRYPTED), "is encrypted"),
        (entry.compress_type not in _METHODS, "is compressed in a way other than deflate"),
        (entry.file_size > limit, f"is larger than {limit} bytes"),
    )
    return next((problem for broken, problem in rules if broken), None)


def _is_too_long(parts: list[str]) -> bool:
    sizes = [len(part.encode()) + 1 for part in parts]
    return max(sizes) > NAME_BYTES_MAX or sum(sizes) > PATH_BYTES_MAX


def _write(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    path = target / entry.filename
    mode = 0o755 if (entry.external_attr >> 16) & stat.S_IXUSR else 0o644
    path.parent.mkdir(parents=True, exist_ok=True)
    # O_EXCL: the target was empty, so an existing file was made by another program.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file, bundle.open(entry) as source:
        # zipfile returns at most the entry's declared size, and checks the CRC at the end.
        while chunk := source.read(_CHUNK_BYTES):
            file.write(chunk)
