"""Cortex' handler document, section "Interface". The docstrings quote its comments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contract.local.test_refusals import up, write_project
from tests.contract.seed_document.conftest import Document
from tests.http_api import HttpApi

CONFIG = {"model": "s3://models/iris", "threshold": 0.5, "labels": ["setosa", "virginica"], "nested": {"deep": True}}


@pytest.fixture
def interface(document: Document) -> HttpApi:
    return document.api("interface")


def result(api: HttpApi, payload: bytes = b'"text"') -> dict[str, Any]:
    answer = api.run(payload, "application/json")
    assert answer["status"] == "completed", answer
    given: dict[str, Any] = answer["result"]
    return given


def test_what_the_global_scope_declares_is_there(interface: HttpApi) -> None:
    """Initialization code and variables can be declared here in global scope. The code runs once."""
    answer = result(interface)
    assert answer["words"] == ["hello", "world"]
    assert answer["calls"]["module"] == 1


def test_the_constructor_is_called_once_before_the_api_becomes_available(interface: HttpApi) -> None:
    """`__init__`: (Required) Called once before the API becomes available."""
    assert [result(interface)["calls"]["__init__"] for _ in range(3)] == [1, 1, 1]


def test_config_is_the_dictionary_of_the_api_configuration(interface: HttpApi) -> None:
    """`config` (required): Dictionary passed from API configuration [...] passed through to your constructor."""
    given = result(interface)["config"]
    assert given == CONFIG
    assert list(given) == list(CONFIG)


def test_config_is_empty_if_not_specified(document: Document) -> None:
    """`config`: Dictionary passed from API configuration (if specified). Without one it is {}."""
    assert result(document.api("my-classifier"))["config"] == {}


def test_config_is_a_required_argument(tmp_path: Path) -> None:
    """`config` (required): a constructor without this argument is refused."""
    handler = "class Handler:\n    def __init__(self): pass\n    def handle_async(self): return {}\n"
    refusal = up(write_project(tmp_path / "project", handler=handler))
    assert refusal.code == 2
    assert '"__init__(self)": "config" is a required argument, but was not provided' in refusal.text


def test_metrics_client_pushes_custom_metrics(interface: HttpApi) -> None:
    """`metrics_client` (optional): [...] allows you to push custom metrics. This handler pushes one of each kind."""
    assert result(interface)["type"] == "str"


def test_metrics_client_is_optional(document: Document) -> None:
    """`metrics_client` (optional): the constructor of the document's first sample takes `config` only."""
    assert result(document.api("my-classifier"))["values"] == {"key": "value"}


def test_handle_async_is_called_once_per_request(interface: HttpApi) -> None:
    """`handle_async`: (Required) Called once per request."""
    before = result(interface)["calls"]["handle_async"]
    assert [result(interface)["calls"]["handle_async"] for _ in range(5)] == [before + n for n in range(1, 6)]


def test_handle_async_is_required(tmp_path: Path) -> None:
    """`handle_async`: (Required). A class without it is refused."""
    refusal = up(write_project(tmp_path / "project", handler="class Handler:\n    def __init__(self, config): pass\n"))
    assert refusal.code == 2
    assert 'error in handler.py: class Handler: required method "handle_async" is not defined' in refusal.text


def test_payload_and_request_id_are_optional(document: Document) -> None:
    """`payload` (optional) [...] `request_id` (optional). This handler's `handle_async(self)` takes neither."""
    assert result(document.api("my-classifier"))["values"] == {"key": "value"}


def test_request_id_identifies_the_workload(interface: HttpApi) -> None:
    """`request_id` (optional): The request id string that identifies a workload. The POST has returned this id."""
    id = interface.submit(b'"text"', "application/json")
    assert interface.end(id)["result"]["request_id"] == id


def test_a_json_serializable_result_is_returned(interface: HttpApi) -> None:
    """Returns: JSON-serializeable result."""
    value = '{"return": {"null": null, "list": [1, 2.5, "three", {"four": [true]}]}}'
    assert result(interface, value.encode()) == {"null": None, "list": [1, 2.5, "three", {"four": [True]}]}
