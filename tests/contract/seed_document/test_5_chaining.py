"""Cortex' handler document, section "Chaining APIs". The docstrings quote it."""

from __future__ import annotations

from tests.contract.seed_document.conftest import Document
from tests.waiting import until_blocking


def test_a_handler_makes_a_request_to_another_api(document: Document) -> None:
    """All running APIs are accessible from within the handler at `http://api-<api_name>:8888/` [...].

    The document's handler `story` submits a workload to `text-generator`. `story` returns nothing, so it fails itself.
    """
    stack = document.stack
    answer = document.api("story").run(b"{}", "application/json")
    assert answer["error"]["message"].startswith("user response must be json serializable dictionary")
    until_blocking(lambda: [line for line in stack.printed("story") if line.startswith("asked as ")])
    asked = [line.removeprefix("asked as ") for line in stack.printed("story") if line.startswith("asked as ")]
    generated = document.api("text-generator", "/generators/text").end(asked[-1])
    assert generated["result"] == {"text": "machine learning is fun"}
    until_blocking(lambda: "asked with machine learning is" in stack.printed("text-generator"))


def test_the_name_of_the_api_counts_and_not_its_endpoint(document: Document) -> None:
    """Where `<api_name>` is the name of the API. The endpoint of text-generator is /generators/text."""
    generator = document.api("text-generator", "/generators/text")
    assert generator.run(b'{"text": "this is"}', "application/json")["result"] == {"text": "this is fun"}
