"""An Envelope has the headers that a caller sends with a payload. Malformed ones are refused or ignored."""

from __future__ import annotations

import pytest

from insula.errors import ContentTypeMissing, InvalidArgument
from insula_submit.envelope import HEADER_BYTES_MAX, Envelope, unquoted

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def read(**metadata: str) -> Envelope:
    return Envelope.read("text/plain", [(name.replace("_", "-"), value) for name, value in metadata.items()])


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("k1", "k1"),
        ('"k1"', "k1"),
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (r'"a\"b"', 'a"b'),
        (r'"a\\b"', r"a\b"),
        (r'"\\\""', '\\"'),
        ('" a b "', " a b "),
        ('a"b', 'a"b'),
        ('k1"', 'k1"'),
        (r"a\b", r"a\b"),
        ("", ""),
    ],
)
def test_a_quoted_key_equals_the_unquoted_one(sent: str, key: str) -> None:
    assert unquoted(sent) == key
    assert read(idempotency_key=sent).idempotency_hash == Envelope("x", key).idempotency_hash


@pytest.mark.parametrize(
    "sent", ['"', '""', '"k1', '"k1"x', '"k1" ', '"k1";p=1', '"a"b"', r'"k1\"', r'"a\b"', '"é"', '"a\tb"', '"a","b"']
)
def test_a_key_with_an_opening_quote_alone_is_refused(sent: str) -> None:
    with pytest.raises(InvalidArgument, match=r"Idempotency-Key.*without quotes"):
        unquoted(sent)


def test_the_limit_of_a_key_is_that_of_what_is_within_its_quotes() -> None:
    assert read(idempotency_key=f'"{"k" * HEADER_BYTES_MAX}"').idempotency_key == "k" * HEADER_BYTES_MAX
    with pytest.raises(InvalidArgument, match="at most 255 bytes"):
        read(idempotency_key=f'"{"k" * (HEADER_BYTES_MAX + 1)}"')


def test_a_content_type_is_required_and_has_a_limit() -> None:
    with pytest.raises(ContentTypeMissing):
        Envelope.read("", [])
    with pytest.raises(InvalidArgument, match='"Content-Type" header must be at most 255 bytes'):
        Envelope.read("x" * (HEADER_BYTES_MAX + 1), [])


def test_a_traceparent_that_is_none_is_ignored() -> None:
    assert read(traceparent=TRACEPARENT).traceparent == TRACEPARENT
    assert read(traceparent=TRACEPARENT.upper()).traceparent == ""
    assert Envelope.read("a/b", [("traceparent", "x"), ("any-bin", b"\xff")]) == Envelope("a/b")


def test_each_content_encoding_header_counts() -> None:
    """Several Content-Encoding headers are one list, so each encoding must be supported."""
    assert Envelope.read("text/plain", [("content-encoding", "gzip"), ("content-encoding", "identity")]).is_gzip
    with pytest.raises(InvalidArgument, match="'gzip,br'"):
        Envelope.read("text/plain", [("content-encoding", "gzip"), ("content-encoding", "br")])
