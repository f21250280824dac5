"""Frames, the messages between worker and runner. They survive any split of the stream, and have limits of size."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula_runner.frames import (
    BODY_BYTES_MAX,
    HEADER_BYTES_MAX,
    Frame,
    FrameBuffer,
    FrameInvalid,
    check_bounds,
    encode_frame,
)

frames = st.lists(st.tuples(st.dictionaries(st.text(), st.integers() | st.text()), st.binary(max_size=300)), max_size=6)


@given(frames, st.lists(st.integers(1, 40), min_size=1))
def test_frames_survive_any_cut_of_the_stream(sent: list[tuple[dict[str, int | str], bytes]], cuts: list[int]) -> None:
    stream = b"".join(encode_frame({**header, "type": "x"}, body) for header, body in sent)
    buffer, received, start, turn = FrameBuffer(), list[Frame](), 0, 0
    while start < len(stream):
        size = cuts[turn % len(cuts)]
        received += buffer.feed(stream[start : start + size])
        start, turn = start + size, turn + 1
    assert received == [Frame({**header, "type": "x"}, body) for header, body in sent]


@given(st.binary(min_size=8, max_size=200))
def test_garbage_raises_nothing_but_frame_invalid(stream: bytes) -> None:
    """Random bytes raise FrameInvalid, or nothing if they may be the beginning of a frame."""
    with suppress(FrameInvalid):
        FrameBuffer().feed(stream)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"[]", 'not an object with a "type"'),
        (b'{"type": 1}', 'not an object with a "type"'),
        (b"{}", 'not an object with a "type"'),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
    ],
)
def test_a_header_is_an_object_with_a_type(header: bytes, text: str) -> None:
    with pytest.raises(FrameInvalid, match=text):
        FrameBuffer().feed(struct.pack("!II", len(header), 0) + header)


@pytest.mark.parametrize(("header_bytes", "body_bytes"), [(HEADER_BYTES_MAX + 1, 0), (2, BODY_BYTES_MAX + 1)])
def test_a_frame_past_its_bounds_is_refused_before_it_is_read(header_bytes: int, body_bytes: int) -> None:
    with pytest.raises(FrameInvalid, match="over the limit of"):
        FrameBuffer().feed(struct.pack("!II", header_bytes, body_bytes))


def test_a_frame_at_its_bounds_is_fine() -> None:
    check_bounds(HEADER_BYTES_MAX, BODY_BYTES_MAX)


def test_too_large_a_header_is_not_sent() -> None:
    with pytest.raises(FrameInvalid, match="header of"):
        encode_frame({"type": "job", "id": "x" * HEADER_BYTES_MAX})
