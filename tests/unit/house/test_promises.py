"""Each guarantee of docs/invariants.md has a test. Each number of a guarantee in the code, such as I5, exists there."""

from __future__ import annotations

import re

import pytest

from tests.unit.house.tree import ROOT, files, name

PAGE = (ROOT / "docs/invariants.md").read_text(encoding="utf-8")
TESTS = re.findall(r"^\| ([IHPC]\d+) \| .* \|(?: `(.+::\w+)`)? \|$", PAGE, re.MULTILINE)
ROWS = dict(TESTS)
GUARANTEES = re.findall(r"^\| \*\*([IHPC]\d+)\*\* \|", PAGE, re.MULTILINE)
NOT_KEPT: set[str] = set()


def test_each_guarantee_has_a_row_among_the_tests() -> None:
    assert set(GUARANTEES) == ROWS.keys()
    assert len(GUARANTEES) == len(set(GUARANTEES))


@pytest.mark.parametrize("named", [test for rule, test in TESTS if rule not in NOT_KEPT])
def test_the_test_of_a_guarantee_exists(named: str) -> None:
    path, _, test = named.partition("::")
    assert re.search(rf"^(async )?def {test}\(", (ROOT / "tests" / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_number_in_use_is_explained() -> None:
    quoted = re.compile(r"\binvariants? (I\d+)|\((I\d+)\)|def test_([ihpc]\d+)_|contract.{0,20}\b([HPC]\d+)\b")
    suffixes = {".py", ".proto", ".lua", ".md"}
    texts = (
        path.read_text(encoding="utf-8") for path in files() if path.suffix in suffixes and "_pb2" not in name(path)
    )
    numbers = {number.upper() for text in texts for found in quoted.findall(text) for number in found if number}
    assert numbers - ROWS.keys() == set()


def test_the_guarantees_that_are_not_kept_are_marked() -> None:
    assert {rule for rule, test in ROWS.items() if not test} == NOT_KEPT
