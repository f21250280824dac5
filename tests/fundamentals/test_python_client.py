"""docs/python-client.md, run as printed: each block prints what the page shows, but for a last digit."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import insula
from tests.fundamentals.conftest import ROOT
from tests.fundamentals.test_readme import settled
from tests.stack import Stack

PAGE = (ROOT / "docs" / "python-client.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
END_OF_BLOCK = "-- the next block --"


@pytest.mark.slow
def test_every_block_prints_what_the_page_shows(stack: Stack) -> None:
    """One after the other in one program: later blocks use what earlier ones defined."""
    blocks = BLOCK.findall(PAGE)
    assert len(blocks) == PAGE.count("```python")
    program = "".join(f"{code}print({END_OF_BLOCK!r})\n" for code, _ in blocks)
    program = program.replace("http://127.0.0.1:8080", stack.public)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(f"{END_OF_BLOCK}\n")
    for (code, expected), output in zip(blocks, printed, strict=False):
        assert settled(output) == settled(expected), code


def test_the_table_of_errors_names_each_that_a_client_raises() -> None:
    """The rest of the tree is what only services, workers and the commands raise, and the classes above others."""
    named = set(re.findall(r"^\| `(\w+)` \|.*\|.*\|$", PAGE.partition("## Failures")[2], re.MULTILINE))
    public = {name for name in insula.__all__ if _is_error(getattr(insula, name))}
    elsewhere = {"EndpointTaken", "LeaseLost", "ProjectInvalid", "Unauthenticated"}
    assert named == public - elsewhere - {"InsulaError", "NotFound", "ResourceExhausted"}


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, insula.InsulaError)
