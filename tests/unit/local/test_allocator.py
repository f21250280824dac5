"""The choice of Valkey's allocator."""

from __future__ import annotations

from pathlib import Path

from insula_local.valkey import JEMALLOC, TUNABLES, allocator


def test_valkey_uses_the_first_jemalloc_of_the_machine(tmp_path: Path) -> None:
    folders = [tmp_path / "none", tmp_path / "first", tmp_path / "second"]
    for folder in folders[1:]:
        folder.mkdir()
        (folder / JEMALLOC).touch()
    assert allocator(folders) == {"LD_PRELOAD": str(folders[1] / JEMALLOC)}


def test_without_jemalloc_valkey_uses_glibc_with_more_free_blocks(tmp_path: Path) -> None:
    assert allocator([tmp_path]) == {"GLIBC_TUNABLES": TUNABLES}
