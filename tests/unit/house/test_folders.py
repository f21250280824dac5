"""Folders have few modules, so that a new reader finds the right one."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath

from tests.unit.house.tree import OURS, python_files

MODULES_MAX = 14


def test_no_folder_holds_more_than_14_modules() -> None:
    """Generated modules and `__init__.py` do not count."""
    modules = (PurePath(path) for path, _ in python_files(*OURS, "scripts/"))
    counts = Counter(str(path.parent) for path in modules if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MODULES_MAX} == {}
