"""Packs a project into one zip archive. The same files give the same bytes on every machine.

Entries are sorted, have a fixed date, and are not compressed: compressors differ between machines, and 32 MiB need no
compression. The mode of a file is reduced to its executable bit.
"""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path
from typing import Final

from insula.errors import ProjectInvalid
from insula.project.extraction import BUNDLE_BYTES_MAX, check, extract
from insula.project.files import ProjectFile, project_files

__all__ = ["BUNDLE_BYTES_MAX", "check", "collect", "extract"]

_DATE: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3
_PLAIN_MODE: Final = 0o644
_EXECUTABLE_MODE: Final = 0o755


def collect(root: Path, config_name: str) -> bytes:
    """Return the archive of the project in `root`. Raises ProjectInvalid, for the same reasons as `project_files`."""
    files = project_files(root, config_name)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
        for file in files:
            bundle.writestr(_entry(file), _read(file))
    data = archive.getvalue()
    if len(data) > BUNDLE_BYTES_MAX:
        raise ProjectInvalid(f"{root}: the names of the files make the project larger than {BUNDLE_BYTES_MAX} bytes")
    return data


def _entry(file: ProjectFile) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(file.name, _DATE)
    entry.create_system = _UNIX
    entry.external_attr = (stat.S_IFREG | (_EXECUTABLE_MODE if file.executable else _PLAIN_MODE)) << 16
    return entry


def _read(file: ProjectFile) -> bytes:
    """Return the bytes of `file`. Raises ProjectInvalid if its size has changed since the limits were checked."""
    try:
        with file.source.open("rb") as source:
            data = source.read(file.size_bytes + 1)
    except OSError as error:
        raise ProjectInvalid(f"{file.source}: cannot be read: {error.strerror}") from None
    if len(data) != file.size_bytes:
        raise ProjectInvalid(f"{file.source}: changed while it was read; try again")
    return data
