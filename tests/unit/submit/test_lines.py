"""NDJSON: a body gives the same lines however its bytes arrive. A body that is cut off gives only its whole lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as some

from insula_submit import lines as module
from insula_submit.lines import Lines

BYTES = some.binary(max_size=12).map(lambda line: line.replace(b"\n", b"").removesuffix(b"\r"))
ENDS = some.sampled_from([b"\n", b"\r\n"])


class Cut(Exception):
    """Simulates a lost connection."""


@pytest.fixture(autouse=True)
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of more than 8 bytes are passed on in pieces."""
    monkeypatch.setattr(module, "LINE_BYTES_MAX", 8)


def chunks_of(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted({min(cut, len(body)) for cut in cuts})
    return [body[begin:end] for begin, end in zip([0, *places], [*places, len(body)], strict=True)]


async def read(chunks: Sequence[bytes], *, whole: bool) -> list[bytes]:
    """Return the lines of a body that arrives in chunks. Unless `whole`, the connection is then lost."""

    async def arriving() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def check_end() -> None:
        if not whole:
            raise Cut

    found = list[bytes]()
    try:
        async for item in Lines(arriving(), check_end):
            found += item if isinstance(item, list) else [b"".join([piece async for piece in item])]
    except Cut:
        pass
    return found


@given(some.lists(some.tuples(BYTES, ENDS)), BYTES, some.lists(some.integers(0, 200)))
def test_a_body_has_the_same_lines_however_its_bytes_arrive(
    ended: list[tuple[bytes, bytes]], last: bytes, cuts: list[int]
) -> None:
    """The same lines are found for any division of a body into chunks. Lines of white space only are left out."""
    body = b"".join(line + end for line, end in ended) + last
    lines = [line for line in [*(line for line, _ in ended), last] if line and not line.isspace()]
    found = asyncio.run(read(chunks_of(body, cuts), whole=True))
    assert [line for line in found if not line.isspace()] == lines


@given(some.lists(some.tuples(BYTES, ENDS), min_size=1), some.integers(0), some.lists(some.integers(0, 200)))
def test_a_body_cut_at_any_byte_has_its_whole_lines_and_no_other(
    ended: list[tuple[bytes, bytes]], length: int, cuts: list[int]
) -> None:
    body = b"".join(line + end for line, end in ended)
    cut = body[: length % len(body)]
    whole = cut[: cut.rfind(b"\n") + 1].split(b"\n")
    lines = [line.removesuffix(b"\r") for line in whole if line and not line.isspace()]
    found = asyncio.run(read(chunks_of(cut, cuts), whole=False))
    assert [line for line in found if not line.isspace()] == lines
