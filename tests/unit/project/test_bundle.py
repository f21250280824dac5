"""Bundles: the same tree gives the same bytes, and no archive writes outside its target."""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.errors import ProjectInvalid
from insula.project import extraction
from insula.project import files as walk
from insula.project.bundle import check, collect, extract
from tests.unit.project.entries import HANDLER, project


def archive(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive with these entries, without checking their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as bundle:
        for entry, data in entries:
            bundle.writestr(entry, data)
    return buffer.getvalue()


def linked(name: str, mode: int) -> zipfile.ZipInfo:
    """Return an entry with a mode other than that of a file."""
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = mode << 16
    return entry


def tree(root: Path) -> dict[str, bytes]:
    """Return the bytes of every file below `root`."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    """The order of creation, times, and modes except the executable bit make no difference."""
    files = {"b.txt": "b", "a/z.txt": "z", "a/b/c.txt": "c", "ä.txt": "ä"}
    one = project(tmp_path / "one", files)
    two = project(tmp_path / "two", dict(reversed(files.items())))
    os.utime(two / "b.txt", (0, 0))
    (two / "b.txt").chmod(0o600)
    first, second = collect(one, "cortex.yaml"), collect(two, "cortex.yaml")
    assert first == second
    assert check(first) == 5
    (two / "b.txt").chmod(0o755)
    assert collect(two, "cortex.yaml") != first


def test_an_extracted_bundle_equals_the_project(tmp_path: Path) -> None:
    root = project(tmp_path / "p", {"run.sh": "#!/bin/sh\n", "a/b.txt": "ä", ".env": "A=1\n", "empty": ""})
    (root / "run.sh").chmod(0o700)
    (root / "link").symlink_to("a/b.txt")
    data = collect(root, "cortex.yaml")
    target = tmp_path / "new" / "target"
    assert extract(data, target) == check(data) == 6
    assert tree(target) == {
        ".env": b"A=1\n", "a/b.txt": "ä".encode(), "empty": b"", "handler.py": HANDLER.encode(),
        "link": "ä".encode(), "run.sh": b"#!/bin/sh\n",
    }  # fmt: skip
    assert (target / "run.sh").stat().st_mode & stat.S_IXUSR
    assert not (target / "handler.py").stat().st_mode & stat.S_IXUSR
    assert not (target / "link").is_symlink()


def test_extraction_needs_an_empty_target(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(FileExistsError):
        extract(archive(("a", b"")), tmp_path)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "leads out of the project": lambda: archive(("a", b""), ("../a", b"")),
    "'/etc/a' leads out": lambda: archive(("/etc/a", b"")),
    "'a/../../b' leads out": lambda: archive(("a/../../b", b"")),
    "'a//b' leads out": lambda: archive(("a//b", b"")),
    "'.' leads out": lambda: archive((".", b"")),
    "'..' leads out": lambda: archive(("..", b"")),
    "is a link or a special file": lambda: archive((linked("a", stat.S_IFLNK | 0o777), b"/etc/passwd")),
    "'pipe' is a link or a special file": lambda: archive((linked("pipe", stat.S_IFIFO | 0o644), b"")),
    "'a' is both a file and a folder": lambda: archive(("a", b""), ("a/b", b"")),
    "'a/b' is both a file and a folder": lambda: archive(("a/b/c", b""), ("a/b", b"")),
    "is compressed in a way other than deflate": lambda: archive(("a", b"x" * 99), method=zipfile.ZIP_LZMA),
    "'a' is larger than": lambda: archive(("a", bytes(2**25 + 1)), method=zipfile.ZIP_DEFLATED),
    "'.env' is larger than": lambda: archive((".env", bytes(2**20 + 1)), method=zipfile.ZIP_DEFLATED),
    "its files hold more than": lambda: archive(("a", bytes(2**25)), ("b", bytes(2**21)), method=zipfile.ZIP_DEFLATED),
    "is longer than a file system allows": lambda: archive(("a" * 256, b"")),
    "is nested deeper than": lambda: archive(("a/" * 129 + "a", b"")),
    "the bundle is larger than": lambda: bytes(2**20 * 40 + 1),
    "is damaged": lambda: b"",
    "it does not end as a zip archive": lambda: archive(("a", b"")) + b"more",
}


@pytest.mark.parametrize("problem", HOSTILE)
def test_hostile_archives_are_refused_and_write_nothing_outside(tmp_path: Path, problem: str) -> None:
    target = tmp_path / "inner" / "target"
    data = HOSTILE[problem]()
    with pytest.raises(ProjectInvalid, match=problem):
        check(data)
    with pytest.raises(ProjectInvalid, match=problem):
        extract(data, target)
    assert all(Path(name).is_relative_to("inner/target") for name in tree(tmp_path))


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            bundle.writestr("a", b"2")
    with pytest.raises(ProjectInvalid, match="'a' occurs twice"):
        extract(buffer.getvalue(), tmp_path / "t")


def test_an_entry_larger_than_its_declared_size_is_refused(tmp_path: Path) -> None:
    """The declared size is checked against the limits, and no more bytes than this are written."""
    honest = archive(("a", bytes(2**20)), method=zipfile.ZIP_DEFLATED)
    directory = honest.rindex(b"PK\1\2")
    lying = bytearray(honest)
    lying[directory + 24 : directory + 28] = struct.pack("<L", 10)
    with pytest.raises(ProjectInvalid, match="damaged"):
        extract(bytes(lying), tmp_path / "t")
    assert sum(len(data) for data in tree(tmp_path / "t").values()) <= 10


def test_damaged_bytes_are_found_by_their_crc(tmp_path: Path) -> None:
    data = archive(("a", b"hello"))
    with pytest.raises(ProjectInvalid, match="damaged: Bad CRC-32"):
        extract(data.replace(b"hello", b"hellO"), tmp_path / "t")


def test_too_many_entries_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "FILES_MAX", 3)
    with pytest.raises(ProjectInvalid, match="more than 3 files"):
        extract(archive(*((str(n), b"") for n in range(4))), tmp_path / "t")


def test_folders_count_towards_the_limit_of_files(tmp_path: Path) -> None:
    """An archive of 3,000 files, each below 76 folders of its own, would make 228,000 folders."""
    data = archive(*(("/".join([str(n), *"d" * 75, "file"]), b"") for n in range(3_000)))
    with pytest.raises(ProjectInvalid, match=r"more than 20000 files and folders; name what .* in \.cortexignore"):
        extract(data, tmp_path / "t")
    assert list((tmp_path / "t").iterdir()) == []


def test_a_packed_project_can_be_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both count the files (6, `.env` included) and the folders (4, without the root) towards FILES_MAX."""
    root = project(tmp_path / "p", {"a/b/c/d/x": "", "a/y": "", "a/b/z": "", "w": "", ".env": ""})
    monkeypatch.setattr(extraction, "FILES_MAX", 10)
    monkeypatch.setattr(walk, "FILES_MAX", 10)
    data = collect(root, "cortex.yaml")
    assert extract(data, tmp_path / "t") == 6
    monkeypatch.setattr(walk, "FILES_MAX", 9)
    with pytest.raises(ProjectInvalid, match=r"more than 9 files and folders; name what .* in \.cortexignore"):
        collect(root, "cortex.yaml")


@given(st.data())
def test_a_damaged_archive_is_extracted_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(archive(("a.txt", b"hello" * 9), ("b/c.txt", b"x"), method=zipfile.ZIP_DEFLATED))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("damaged")
    target = folder / "target"
    try:
        extract(bytes(whole), target)
    except ProjectInvalid:
        pass
    finally:
        assert [path.name for path in folder.iterdir()] in ([], ["target"])
        shutil.rmtree(folder)
