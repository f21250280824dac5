"""Log messages, errors and the commands' texts are plain English, so that they are understood at the first reading.

Every string in the code except docstrings is checked, so a text in a constant is checked too.
"""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.unit.house.tree import OURS, python_files, strings

PLAIN: Final = {
    r"\b(is|are|was) away\b": "unavailable",
    r"\b(says?|said|tells?|told|hears?|heard)\b": "log, report, return, print",
    r"(?<!there )\b(is|are) no\b(?! longer)": "is not a …",
    r"\b(gives?|gave|has|have) out\b|\bout of reach\b": "return, unavailable",
    r"\bso many\b": "the number",
    r"\bof which\b|\bof whom\b": "a second sentence",
    r"(^|[.;:,] )[Ww]hat (was|is|were|are|waits|runs|comes|came)\b": "a noun, such as: the result",
    r"(^|[.;:,] )[Ww]ho (waits|runs|comes|calls|asks)\b": "a noun, such as: the caller",
    r"\b(serves|runs) on\b(?! (this|the|that|one|port))": "still serves, keeps running",
    r"\bthe one (before|behind|after)\b": "the previous …, the next …",
    r"\b(stands|lies) (there|still)\b": "is",
    r"\bfor a while\b|\bfor ever\b": "the time, or without limit",
}
"""Patterns, each with the text to write instead."""
EXCEPTIONS: Final[set[str]] = set()
"""Texts that must contain one of these words."""


@pytest.mark.parametrize("pattern", PLAIN)
def test_texts_are_plain_english(pattern: str) -> None:
    found = [
        f"{path}:{node.lineno} {node.value!r}: write {PLAIN[pattern]!r} instead"
        for path, tree in python_files(*OURS)
        for node in strings(tree)
        if " " in str(node.value) and node.value not in EXCEPTIONS and re.search(pattern, str(node.value))
    ]
    assert found == []
