"""Each promise in docs/invariants.md has a test, and each number that the code quotes is on the page."""

from __future__ import annotations

import re

import pytest

from tests.unit.house.tree import ROOT, files, name

PAGE = (ROOT / "docs/invariants.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| ([IHPC]\d+) \| .* \|(?: `(.+::\w+)`)? \|$", PAGE, re.MULTILINE))
NOT_KEPT = {"I12"}


@pytest.mark.parametrize("rule", sorted(ROWS.keys() - NOT_KEPT))
def test_the_test_of_a_promise_exists(rule: str) -> None:
    path, _, test = ROWS[rule].partition("::")
    assert re.search(rf"^(async )?def {test}\(", (ROOT / "tests" / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_number_in_use_is_explained() -> None:
    quoted = re.compile(r"\binvariants? (I\d+)|\((I\d+)\)|def test_([ihpc]\d+)_|contract.{0,20}\b([HPC]\d+)\b")
    suffixes = {".py", ".proto", ".lua", ".md"}
    texts = (
        path.read_text(encoding="utf-8") for path in files() if path.suffix in suffixes and "_pb2" not in name(path)
    )
    numbers = {number.upper() for text in texts for found in quoted.findall(text) for number in found if number}
    assert numbers - ROWS.keys() == set()


def test_a_promise_without_a_test_is_marked_as_not_kept() -> None:
    assert {rule for rule, test in ROWS.items() if not test} == NOT_KEPT
