"""Content-Encoding of a POST: gzip is decompressed in pieces, and malformed gzip is refused."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.errors import EncodingInvalid, EncodingUnsupported
from insula_submit.admission import INLINE_BYTES_MAX
from insula_submit.encodings import PIECE_BYTES, decompressed, is_gzip

TEXT = b"zdanie " * 100


def inflate(*chunks: bytes) -> list[bytes]:
    async def sent() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def pieces() -> list[bytes]:
        return [piece async for piece in decompressed(sent())]

    return asyncio.run(pieces())


def cut(data: bytes, size: int) -> Sequence[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", " gzip ", "identity, gzip", "gzip,identity"])
@pytest.mark.parametrize(
    "content_type", ["application/json", "Text/Plain ; charset=latin-1", "text/csv", "application/vnd.api+json"]
)
def test_a_gzip_of_json_and_text_is_decompressed(content_type: str, encoding: str) -> None:
    assert is_gzip(content_type, encoding)


@pytest.mark.parametrize("encoding", ["", "identity", "Identity", "identity,identity", ","])
def test_no_encoding_is_none(encoding: str) -> None:
    assert not is_gzip("application/json", encoding)


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, br", "gzip, gzip", "compress", "*", "gzip;q=1"])
def test_another_encoding_is_refused_by_its_name(encoding: str) -> None:
    with pytest.raises(EncodingUnsupported, match="not supported; send gzip") as refused:
        is_gzip("text/plain", encoding)
    assert refused.value.encoding == encoding
    assert encoding in str(refused.value)


@pytest.mark.parametrize("content_type", ["application/octet-stream", "image/svg", "application/x-ndjson", "x"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "anything"])
def test_another_type_stays_as_it_came(content_type: str, encoding: str) -> None:
    assert not is_gzip(content_type, encoding)


@given(st.binary(max_size=3000), st.integers(1, 64), st.integers(0, 9))
def test_chunks_of_any_size_are_decompressed(payload: bytes, size: int, level: int) -> None:
    assert b"".join(inflate(*cut(gzip.compress(payload, level), size))) == payload


@pytest.mark.parametrize("size_bytes", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 8 * PIECE_BYTES + 100])
@pytest.mark.parametrize("random", [True, False])
def test_a_large_payload_comes_in_pieces(size_bytes: int, random: bool) -> None:
    """No piece is larger than PIECE_BYTES, even if 1,000 bytes of gzip expand to a megabyte."""
    payload = Random(7).randbytes(size_bytes) if random else bytes(size_bytes)
    pieces = inflate(gzip.compress(payload))
    assert b"".join(pieces) == payload
    assert max(map(len, pieces)) <= PIECE_BYTES


def test_nothing_small_waits_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small payload is decompressed without a thread. So it is accepted in an outage of S3, which blocks threads."""

    def no_thread(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(asyncio, "to_thread", no_thread)
    for payload in (Random(7).randbytes(INLINE_BYTES_MAX), bytes(INLINE_BYTES_MAX)):
        assert b"".join(inflate(*cut(gzip.compress(payload), 20_000))) == payload
    with pytest.raises(AssertionError):
        inflate(gzip.compress(bytes(PIECE_BYTES * 2)))


def test_many_gzips_of_nothing_cost_little() -> None:
    """2 MB with 100,000 empty gzip streams take less than 5 s of CPU."""
    nothing = gzip.compress(b"")
    started = time.process_time()
    assert inflate(*cut(nothing * 100_000, 1 << 20)) == []
    assert time.process_time() - started < 5


def test_joined_gzips_are_one_payload() -> None:
    """`cat a.gz b.gz` and pigz join several gzip streams. The chunks of the body may end anywhere."""
    joined = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    for size in range(1, len(joined) + 1):
        assert b"".join(inflate(*cut(joined, size))) == b"one two"


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_gzip_that_was_cut_off_is_refused_wherever_it_was(size: int) -> None:
    whole = gzip.compress(TEXT)
    for length in range(len(whole)):
        with pytest.raises(EncodingInvalid, match="ends before its gzip does"):
            inflate(*cut(whole[:length], size))


ANOTHER = gzip.compress(TEXT, mtime=0)[:12]


@pytest.mark.parametrize("tail", [b"x", b"\0", b"garbage that is longer than a header", ANOTHER])
def test_a_gzip_that_goes_on_with_something_else_is_refused(tail: bytes) -> None:
    with pytest.raises(EncodingInvalid):
        inflate(gzip.compress(TEXT), tail)
    with pytest.raises(EncodingInvalid):
        inflate(gzip.compress(TEXT) + tail)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1}',
        b"\x1f\x8b",
        zlib.compress(TEXT),
        gzip.compress(TEXT)[:-8] + bytes(8),
        b"\x1f\x8b\x08" + b"\xff" * 30,
    ],
    ids=["plain", "its first bytes", "zlib", "another sum", "damaged"],
)
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(EncodingInvalid):
        inflate(body)
