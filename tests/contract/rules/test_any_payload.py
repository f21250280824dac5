"""No payload and no Content-Type causes a crash or a 5xx. Each failure has a message that names the type."""

from __future__ import annotations

import json
from collections.abc import Callable

import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http_api import HttpApi

TYPES = ("", "text/plain", "TEXT/PLAIN", "application/json", "text/html", "text", "*/*")
CHARSETS = (
    "utf-8",
    "us-ascii",
    "latin-1",
    "utf-16",
    "utf-32",
    "utf-7",
    "idna",
    "punycode",
    "unicode_escape",
    "hex",
    "",
)
header_text = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="\x7f"), max_size=30)
charset = st.builds("; charset={}".format, st.sampled_from(CHARSETS) | header_text)
content_types = st.builds("{}{}{}".format, st.sampled_from(TYPES), charset | st.just(""), header_text)
payloads = st.binary(max_size=60) | st.text(max_size=30).map(str.encode) | st.sampled_from([b"{}", b"[1]", b"{'a'"])


@settings(max_examples=2000)
@given(content_types.map(str.strip), payloads)
def test_every_post_is_refused_or_ends_with_a_sentence(
    api: Callable[[str], HttpApi], content_type: str, payload: bytes
) -> None:
    echo = api("echo")
    reply = requests.post(echo.url, data=payload, headers={"Content-Type": content_type.encode()}, timeout=10)
    assert reply.status_code in (200, 400), reply.text
    if reply.status_code == 400:
        assert reply.json()["message"]
        return
    answer = echo.end(reply.json()["id"])
    if answer["status"] == "completed":
        return
    if answer["error"]["reason"] == "RESULT_INVALID":  # P4: echo returned a number that JSON has no form for
        assert "user response is not json serializable" in answer["error"]["message"]
        assert not finite(payload), answer
    else:
        assert answer["error"]["reason"] == "PAYLOAD_INVALID", answer
        assert f"with content-type {content_type}, could not be decoded to" in answer["error"]["message"]


def finite(payload: bytes) -> bool:
    """Whether all numbers of a JSON text are finite. Python's parser, and so Cortex', also accepts NaN and Infinity."""
    try:
        json.dumps(json.loads(payload), allow_nan=False)
    except ValueError:
        return False
    return True
