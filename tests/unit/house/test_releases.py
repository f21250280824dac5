"""Each release has a section in CHANGELOG.md and a recorded commit, for tests that run two versions side by side."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from typing import Final

import pytest

from tests.unit.house.tree import ROOT

RELEASES: Final[dict[str, str]] = json.loads((ROOT / "tests" / "releases.json").read_text())
"""The commit of each version, the newest last."""


def test_each_release_has_a_section_in_the_changelog() -> None:
    sections = re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections == list(reversed(RELEASES))


@pytest.mark.parametrize("version", RELEASES)
def test_the_commit_of_a_release_has_its_version(version: str) -> None:
    commit = RELEASES[version]
    assert re.fullmatch("[0-9a-f]{40}", commit)
    shown = subprocess.run(["git", "show", f"{commit}:pyproject.toml"], cwd=ROOT, capture_output=True, check=False)
    if shown.returncode != 0:
        pytest.skip("the commit is not in this copy of the repository")
    assert tomllib.loads(shown.stdout.decode())["project"]["version"] == version
