"""docs/writing-a-handler.md: its project runs, and its list of packages is that of the code."""

from __future__ import annotations

import json

import pytest

from insula_worker.environments.key import BASE_SET
from tests.fundamentals.blocks import ROOT
from tests.http_api import HttpApi
from tests.stack import Stack

PAGE = (ROOT / "docs" / "writing-a-handler.md").read_text(encoding="utf-8")


def test_the_page_names_every_package_that_is_installed() -> None:
    assert [name for name in BASE_SET if name.lower() not in PAGE.lower()] == []


@pytest.mark.slow
def test_the_project_of_the_page_runs(stack: Stack) -> None:
    api = HttpApi(f"{stack.public}/word-counter")
    ended = api.run(json.dumps({"text": "one two three"}).encode(), "application/json")
    assert ended["result"] == {"id": ended["id"], "words": 3}
    failed = api.run(json.dumps({"text": "x" * 100_001}).encode(), "application/json")
    assert failed["error"]["message"] == "ValueError: the text has 100001 characters; the limit is 100000"
