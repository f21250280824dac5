"""A stranger finds his way: no folder holds more modules than one can look over."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath

from tests.unit.house.tree import OURS, python_files

MODULES_MAX = 14


def test_no_folder_holds_more_than_14_modules() -> None:
    """Written by hand; `__init__.py` is the folder itself."""
    modules = (PurePath(path) for path, _ in python_files(*OURS, "scripts/"))
    counts = Counter(str(path.parent) for path in modules if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MODULES_MAX} == {}
