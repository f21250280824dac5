"""Nothing in the repository points at one machine, one registry, or a drawer for odds and ends."""

from __future__ import annotations

import re

from tests.unit.house.tree import files, name

# Written with brackets so that these lines do not find themselves.
REGISTRIES = r"python[h]osted|py[p]i\.org|np[m]js\.|debi[a]n\.org|proxy\.gol[a]ng"
MACHINES = r"/w[o]rk/|/hom[e]/[a-z]|/roo[t]/|/op[t]/pypi"
DRAWERS = re.compile(r"(^|_)(utils?|helpers?|common|misc|base|managers?)$")


def lines_with(pattern: str) -> list[str]:
    """Place and text of every line of a text file that matches."""
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
    """Where packages come from is the installer's choice; the locks hold names, versions and hashes."""
    assert lines_with(REGISTRIES) == []
    locks = [line for line in lines_with(r"^--|://") if line.startswith("requirements/")]
    assert locks == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_with(MACHINES) == []


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    """A module is named after what it owns."""
    assert [name(path) for path in files() if path.suffix == ".py" and DRAWERS.search(path.stem)] == []


def test_no_large_file_is_kept() -> None:
    """A clone stays quick: no file over 1 MB."""
    assert [name(path) for path in files() if path.stat().st_size > 1_000_000] == []
