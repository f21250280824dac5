"""The lock files in requirements/ match pyproject.toml."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.unit.house.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {"local": ("local",), "dev": ("local", "dev"), "services": ("worker",)}


def normalised(requirement: str) -> str:
    """Return the package's name as a lock file has it: `redis[hiredis]>=7.0` -> redis."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def locked(lock: str) -> dict[str, str]:
    """Return the version of each package in a lock."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("lock", EXTRAS)
def test_every_dependency_is_locked(lock: str) -> None:
    """If this fails after a dependency was added, run `make locks`."""
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(requirement for extra in EXTRAS[lock] for requirement in extras[extra])]
    assert {normalised(requirement) for requirement in wanted} - locked(lock).keys() == set()


@pytest.mark.parametrize("lock", ["local", "services", "edge"])
def test_the_tests_run_with_the_versions_of_each_lock(lock: str) -> None:
    """The lock for the tests has the versions of `make demo` and of the images."""
    dev = locked("dev")
    assert {name: version for name, version in locked(lock).items() if dev.get(name) != version} == {}
