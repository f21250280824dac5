"""The repository names no machine and no package registry, and has no large files or unspecific modules."""

from __future__ import annotations

import re

from tests.unit.house.tree import files, name

# The brackets prevent these lines from matching themselves.
REGISTRIES = r"python[h]osted|py[p]i\.org|np[m]js\.|debi[a]n\.org|proxy\.gol[a]ng"
MACHINES = r"/w[o]rk/|/hom[e]/[a-z]|/roo[t]/|/op[t]/pypi"
DRAWERS = re.compile(r"(^|_)(utils?|helpers?|common|misc|base|managers?)$")


def lines_with(pattern: str) -> list[str]:
    """Return position and text of every matching line in the text files."""
    found: list[str] = []
    for path in files():
        data = path.read_bytes()
        if b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8").splitlines(), start=1):
            if re.search(pattern, line):
                found.append(f"{name(path)}:{number} {line.strip()[:120]}")
    return found


def test_no_file_names_a_package_registry() -> None:
    """The user chooses the registry. The locks have names, versions and hashes."""
    assert lines_with(REGISTRIES) == []
    locks = [line for line in lines_with(r"^--|://") if line.startswith("requirements/")]
    assert locks == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_with(MACHINES) == []


def test_no_module_has_an_unspecific_name() -> None:
    """A module's name tells what the module is responsible for."""
    assert [name(path) for path in files() if path.suffix == ".py" and DRAWERS.search(path.stem)] == []


def test_no_file_is_larger_than_1_mb() -> None:
    """So a clone stays fast."""
    assert [name(path) for path in files() if path.stat().st_size > 1_000_000] == []
