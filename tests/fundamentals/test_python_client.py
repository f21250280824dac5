"""docs/python-client.md names every error of the client; its blocks run in test_readme.py."""

from __future__ import annotations

import re

import insula
from tests.fundamentals.blocks import ROOT

PAGE = (ROOT / "docs" / "python-client.md").read_text(encoding="utf-8")


def test_the_table_of_errors_names_each_that_a_client_raises() -> None:
    """All other errors are raised only by services, workers and commands, or are base classes."""
    named = set(re.findall(r"^\| `(\w+)` \|.*\|.*\|$", PAGE.partition("## Failures")[2], re.MULTILINE))
    public = {name for name in insula.__all__ if _is_error(getattr(insula, name))}
    elsewhere = {"EndpointTaken", "LeaseLost", "ProjectInvalid", "Unauthenticated"}
    assert named == public - elsewhere - {"InsulaError", "NotFound", "ResourceExhausted"}


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, insula.InsulaError)
