from __future__ import annotations

import re
from pathlib import Path

import pytest

from insula.cli.init import Template

ROOT = Path(__file__).parent.parent.parent.parent
NAMED = sorted(set(re.findall(r"`(tests/[^`]*)`", (ROOT / "README.md").read_text(encoding="utf-8"))))


@pytest.mark.parametrize("named", NAMED)
def test_each_test_that_readme_names_exists(named: str) -> None:
    path, _, name = named.partition("::")
    assert (ROOT / path).exists()
    if name:
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_the_project_in_readme_is_the_one_that_insula_init_writes() -> None:
    files = Template.IMAGE.files()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("handler.py", "cortex.yaml"):
        assert f"# {name}\n{files[name].decode()}```" in readme
