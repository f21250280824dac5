"""Rules P1 to P3: how the bytes of a POST become the handler's payload, or an error for the caller."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
import requests

from tests.http_api import HttpApi
from tests.stack import Stack

PNG = b"\x89PNG\r\n\x1a\n\x00\xff"


def shown(answer: dict[str, Any]) -> tuple[str, Any]:
    assert answer["status"] == "completed", answer
    return answer["result"]["type"], answer["result"]["payload"]


def refusal(answer: dict[str, Any]) -> str:
    """Check that the workload failed with PAYLOAD_INVALID. Return the message."""
    assert (answer["status"], answer["error"]["reason"]) == ("failed", "PAYLOAD_INVALID"), answer
    message: str = answer["error"]["message"]
    return message


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [
        ("utf-8", "utf-8", "zażółć 🦉"),
        ("UTF8", "utf-8", "zażółć 🦉"),
        ("us-ascii", "ascii", "plain"),
        ("latin-1", "latin-1", "café"),
        ("ISO-8859-1", "latin-1", "café"),
        ('"iso-8859-2"', "iso-8859-2", "zażółć"),
        ("utf-16", "utf-16", "zażółć 🦉"),
        ("utf-16-be", "utf-16-be", "zażółć 🦉"),
        ("windows-1250", "cp1250", "zażółć"),
        ("shift_jis", "shift_jis", "日本"),
    ],
)
def test_p2_text_is_decoded_by_its_charset(echo: HttpApi, charset: str, codec: str, text: str) -> None:
    assert shown(echo.run(text.encode(codec), f"text/plain; charset={charset}")) == ("str", text)


@pytest.mark.parametrize(
    ("content_type", "payload", "why"),
    [
        ("text/plain", b"caf\xe9", "'utf-8' codec can't decode byte 0xe9"),
        ("text/plain; charset=utf-8", b"\xff\xfe", "'utf-8' codec can't decode byte 0xff"),
        ("text/plain; charset=us-ascii", "café".encode(), "'ascii' codec can't decode byte 0xc3"),
        ("text/plain; charset=utf-16", b"\xff\xfea", "truncated data"),
        ("text/plain; charset=klingon", b"x", "the charset 'klingon' is not known"),
        ("text/plain; charset=base64", b"eA==", "the charset 'base64' is not known"),
    ],
)
def test_p2_text_that_cannot_be_decoded_fails_with_a_sentence(
    echo: HttpApi, content_type: str, payload: bytes, why: str
) -> None:
    """The error message names the Content-Type and the cause."""
    id = requests.post(echo.url, data=payload, headers={"Content-Type": content_type.encode()}, timeout=10).json()["id"]
    message = refusal(echo.end(id))
    assert message.startswith(f"the uploaded payload, with content-type {content_type}, could not be decoded to text: ")
    assert why in message


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
@pytest.mark.parametrize("payload", [b"{", b"{'a': 1}", b"\xff", b"[1,]", b"{} {}", b"nothing"])
def test_p1_json_that_cannot_be_decoded_fails_with_cortex_text(
    echo: HttpApi, content_type: str, payload: bytes
) -> None:
    expected = f"the uploaded payload, with content-type {content_type}, could not be decoded to JSON"
    assert refusal(echo.run(payload, content_type)).startswith(expected)


@pytest.mark.parametrize("payload", [b"null", b"true", b"0.5", b'"text"', b"[]", b" \n{} ", b'{"a": {"b": [null]}}'])
def test_p1_any_json_value_is_a_payload(echo: HttpApi, payload: bytes) -> None:
    value = json.loads(payload)
    assert shown(echo.run(payload, "application/json")) == (type(value).__name__, value)


def test_p1_json_in_utf_16_is_json(echo: HttpApi) -> None:
    assert shown(echo.run('{"ż": 1}'.encode("utf-16"), "application/json; charset=utf-16")) == ("dict", {"ż": 1})


def test_an_empty_body_is_what_its_type_says(echo: HttpApi) -> None:
    """As text it is "", as another type b"". As JSON it is an error, because an empty body is not JSON."""
    assert shown(echo.run(b"", "text/plain")) == ("str", "")
    assert shown(echo.run(b"", "text/plain; charset=utf-16")) == ("str", "")
    assert shown(echo.run(b"", "application/octet-stream")) == ("bytes", "")
    assert "could not be decoded to JSON" in refusal(echo.run(b"", "application/json"))


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("APPLICATION/JSON", "dict"),
        ("application/json;charset=utf-8;x=1", "dict"),
        ("application/json ; q=1", "dict"),
        ("TEXT/Plain;CHARSET=UTF-8", "str"),
        ("text/plain; format=flowed; charset=utf-8", "str"),
        ("text/plain;\tcharset=utf-8", "str"),
    ],
)
def test_case_and_parameters_of_the_type_do_not_matter(echo: HttpApi, content_type: str, kind: str) -> None:
    assert shown(echo.run(b"{}", content_type))[0] == kind


@pytest.mark.parametrize("content_type", ["application/ld+json", "text/json", "text/html", "application/jsonl", "*/*"])
def test_p3_types_that_are_only_similar_are_bytes(echo: HttpApi, content_type: str) -> None:
    assert shown(echo.run(PNG, content_type)) == ("bytes", PNG.hex())


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("nonsense", "bytes"),
        ("/", "bytes"),
        ("application/", "bytes"),
        ("application/json/x", "bytes"),
        ("application / json", "bytes"),
        ("=", "bytes"),
        (";;;", "bytes"),
        ("; charset=utf-16", "bytes"),
        ("application/json;", "dict"),
        ("text/plain;", "str"),
        ("text/plain; charset", "str"),
        ("text/plain; charset=", "str"),
        ('text/plain; charset=""', "str"),
        ("text/plain; =utf-16", "str"),
        ("text/plain; xcharset=utf-16", "str"),
        ('text/plain; title="; charset=utf-16"; charset=utf-8', "str"),
        ("text/plain; charset=utf-8; charset=utf-16", "str"),
    ],
)
def test_a_malformed_type_is_read_as_far_as_it_goes(echo: HttpApi, content_type: str, kind: str) -> None:
    """A malformed type gives bytes, as every type except JSON and text. A malformed parameter has no effect."""
    assert shown(echo.run(b"{}z"[:2], content_type))[0] == kind


def post_raw(stack: Stack, *content_types: bytes) -> tuple[int, dict[str, Any]]:
    """POST to `echo` with these Content-Type headers, sent unchanged. Return the status and the JSON of the answer."""
    host, port = stack.public.removeprefix("http://").split(":")
    headers = b"".join(b"Content-Type: %s\r\n" % each for each in content_types)
    with socket.create_connection((host, int(port)), 10) as connection:
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"
        connection.sendall(head + headers + b"\r\n{}")
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(reply.split()[1]), json.loads(reply.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    "types", [(b"text/plain", b"application/json"), (b"application/json", b"text/plain"), (b"text/plain",) * 2]
)
def test_two_content_types_name_none(stack: Stack, echo: HttpApi, types: tuple[bytes, ...]) -> None:
    """HTTP joins two headers with a comma. The joined type is neither JSON nor text, so the payload is bytes."""
    status, body = post_raw(stack, *types)
    assert status == 200
    assert shown(echo.end(body["id"])) == ("bytes", b"{}".hex())


@pytest.mark.parametrize(
    ("content_type", "status", "word"),
    [
        (b"", 400, 'the "Content-Type" header is missing'),
        (b"   ", 400, 'the "Content-Type" header is missing'),
        (b"x/" + b"y" * 254, 400, "255 bytes"),
        (b"text/plain; charset=\xff", 400, "Content-Type"),
        (b"text/\x00plain", 400, "malformed request"),
        (b"x/" + b"y" * 70_000, 431, "malformed request"),
    ],
)
def test_a_content_type_that_cannot_be_carried_is_refused_with_a_sentence(
    stack: Stack, content_type: bytes, status: int, word: str
) -> None:
    """The status is 4xx, and the body has the keys of every error."""
    found, body = post_raw(stack, content_type)
    assert (found, sorted(body)) == (status, ["code", "details", "message"]), body
    assert word in body["message"]
