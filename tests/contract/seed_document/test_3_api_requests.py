"""Cortex' handler document, section "API requests". The docstrings quote it.

The tests run the document's curl commands, and check what its handlers print. These handlers return nothing. A result
must be a dictionary, so their workloads end as failed. The tests check this error too.
"""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from pathlib import Path

import pytest

from tests.contract.local.test_refusals import up, write_project
from tests.contract.seed_document.conftest import Document
from tests.waiting import until_blocking

NOTHING = (
    "user response must be json serializable dictionary, got <class 'NoneType'> instead: "
    "handle_async returned None; it must return a dict"
)


def png(width: int, height: int) -> bytes:
    """Return a black image in PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\0\0\0" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def run_sample(document: Document, name: str, command: str, folder: Path, printed: str) -> None:
    """Run the document's curl command. Check that the handler prints `printed`, and that the workload fails."""
    before = document.stack.printed(name).count(printed)
    id = json.loads(document.curl(command.replace("/my-api", f"/{name}"), folder))["id"]
    answer = document.api(name).end(id)
    assert (answer["status"], answer["error"]) == ("failed", {"reason": "RESULT_INVALID", "message": NOTHING})
    until_blocking(lambda: document.stack.printed(name).count(printed) > before)


def test_rule_1_json_is_parsed(document: Document) -> None:
    """For `Content-Type: application/json`, `payload` will be the parsed JSON body."""
    answer = document.api("interface").run(b'[1, {"two": null}]', "application/json")["result"]
    assert (answer["type"], answer["payload"]) == ("list", [1, {"two": None}])


def test_rule_2_text_is_a_string_in_utf_8(document: Document) -> None:
    """For `Content-Type: text/plain`, `payload` will be a string. `utf-8` encoding is assumed [...]."""
    answer = document.api("interface").run("zażółć 🦉".encode(), "text/plain")["result"]
    assert (answer["type"], answer["payload"]) == ("str", "zażółć 🦉")


@pytest.mark.parametrize(("charset", "text"), [("us-ascii", "plain"), ("latin-1", "café"), ("utf-16", "zażółć")])
def test_rule_2_unless_specified_otherwise(document: Document, charset: str, text: str) -> None:
    """[...] unless specified otherwise (e.g. via `Content-Type: text/plain; charset=us-ascii`)."""
    answer = document.api("interface").run(text.encode(charset), f"text/plain; charset={charset}")["result"]
    assert (answer["type"], answer["payload"]) == ("str", text)


def test_rule_2_bytes_outside_us_ascii_fail(document: Document) -> None:
    answer = document.api("interface").run("café".encode(), "text/plain; charset=us-ascii")
    assert answer["error"]["reason"] == "PAYLOAD_INVALID"
    assert "text/plain; charset=us-ascii, could not be decoded to text" in answer["error"]["message"]


@pytest.mark.parametrize("content_type", ["application/octet-stream", "image/png", "text/html", "application/ld+json"])
def test_rule_3_everything_else_is_raw_bytes(document: Document, content_type: str) -> None:
    """For all other `Content-Type` values, `payload` will be the raw `bytes` of the request body."""
    answer = document.api("interface").run(b'{"key": 1}\xff\x00', content_type)["result"]
    assert (answer["type"], bytes(answer["payload"])) == ("bytes", b'{"key": 1}\xff\x00')


def test_json_data(document: Document, tmp_path: Path) -> None:
    """When sending a JSON payload, the `payload` parameter will be a Python object [...] prints "value"."""
    command = """curl http://***.amazonaws.com/my-api \
        -X POST -H "Content-Type: application/json" \
        -d '{"key": "value"}'"""
    run_sample(document, "json-data", command, tmp_path, "value")


def test_binary_data(document: Document, tmp_path: Path) -> None:
    """The `payload` parameter will be a `bytes` object [...] `pickle.loads(payload)` [...] prints "value"."""
    (tmp_path / "object.pkl").write_bytes(pickle.dumps({"key": "value", "bytes": bytes(range(256))}))
    command = """curl http://***.amazonaws.com/my-api \
        -X POST -H "Content-Type: application/octet-stream" \
        --data-binary @object.pkl"""
    run_sample(document, "binary-data", command, tmp_path, "value")


def test_binary_data_may_be_an_image(document: Document, tmp_path: Path) -> None:
    """Here's an example if the binary data is an image: [...] `print(img.size)`. Pillow is installed by default."""
    (tmp_path / "image.png").write_bytes(png(31, 17))
    command = """curl http://***.amazonaws.com/my-api \
        -X POST -H "Content-Type: application/octet-stream" \
        --data-binary @image.png"""
    run_sample(document, "image-data", command, tmp_path, "(31, 17)")


def test_text_data(document: Document, tmp_path: Path) -> None:
    """The `payload` parameter will be a `string` object [...] prints "hello world"."""
    command = """curl http://***.amazonaws.com/my-api \
        -X POST -H "Content-Type: text/plain" \
        -d "hello world" """
    run_sample(document, "text-data", command, tmp_path, "hello world")


def test_text_data_as_printed_is_refused_with_advice(tmp_path: Path) -> None:
    """The document's sample for text has a mistake, `class Handle`. Cortex refused this name, and so does Insula."""
    sample = """
class Handle:
    def __init__(self, config):
        pass

    def handle_async(self, payload):
        print(payload)  # prints "hello world"
"""
    refusal = up(write_project(tmp_path / "project", handler=sample))
    assert refusal.code == 2
    expected = "error in handler.py: Handler class is not defined: found class Handle, expected Handler"
    assert expected in refusal.text
