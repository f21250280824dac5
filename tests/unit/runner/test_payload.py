"""Guarantees P1 to P3: the payload that a handler receives for each Content-Type."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula_runner.payload import PayloadInvalid, decode_payload

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values, st.sampled_from(["application/json", "Application/JSON; charset=utf-8", " application/json ;x=y"]))
def test_json_is_parsed(value: object, content_type: str) -> None:
    assert decode_payload(content_type, json.dumps(value).encode()) == value


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe\xfa", b"[" * 200_000, b"1" * 5000, b"{'a': 1}"])
def test_json_that_does_not_decode_fails_with_cortex_text(payload: bytes) -> None:
    text = "the uploaded payload, with content-type application/json, could not be decoded to JSON"
    with pytest.raises(PayloadInvalid, match=text):
        decode_payload("application/json", payload)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_is_utf8_unless_told_otherwise(text: str) -> None:
    assert decode_payload("text/plain", text.encode()) == text
    assert decode_payload("text/plain; charset=utf-16", text.encode("utf-16")) == text


@pytest.mark.parametrize(
    "content_type",
    ["text/plain; charset=latin-1", 'TEXT/plain;charset="ISO-8859-1"', "text/plain; format=flowed; CHARSET=cp1252"],
)
def test_the_charset_parameter_is_honoured(content_type: str) -> None:
    assert decode_payload(content_type, b"caf\xe9") == "café"


@pytest.mark.parametrize("charset", ["nope", "hex", "rot13", "a\0b", "zlib", "x" * 5000])
def test_a_charset_that_is_no_text_encoding_is_named(charset: str) -> None:
    with pytest.raises(PayloadInvalid, match="could not be decoded to text"):
        decode_payload(f"text/plain; charset={charset}", b"x")


@pytest.mark.parametrize("content_type", ["text/plain", "text/plain; charset=us-ascii", "text/plain; charset="])
def test_bytes_outside_the_charset_are_refused(content_type: str) -> None:
    with pytest.raises(PayloadInvalid, match="could not be decoded to text"):
        decode_payload(content_type, b"caf\xe9")


@given(st.binary(), st.sampled_from(["application/octet-stream", "text/html", "application/ld+json", "image/png", ""]))
def test_everything_else_is_the_same_bytes(payload: bytes, content_type: str) -> None:
    assert decode_payload(content_type, payload) is payload


@given(st.text(), st.binary())
def test_no_content_type_breaks_the_decoder(content_type: str, payload: bytes) -> None:
    """Any payload is decoded or raises PayloadInvalid. Another exception would look like an error of the handler."""
    try:
        decode_payload(content_type, payload)
        decode_payload(f"text/plain; charset={content_type}", payload)
    except PayloadInvalid:
        return
