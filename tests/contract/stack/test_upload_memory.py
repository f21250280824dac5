"""The memory of the submit service during and after large payloads (H10: payloads of any size, flat memory)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.http_api import HttpApi
from tests.processes import memory_mb
from tests.stack import Stack, running_stack

PROBE = Path(__file__).parents[2] / "projects" / "probe"
UPLOADS = 12
UPLOAD_MB = 30
EACH_MB = 20
"""Memory for one upload: one part of 5 MiB, twice while it is joined, and gRPC's buffers."""
KEPT_MB = 20
"""Growth after the second round: fragmentation of the allocator, not 360 MB of payloads."""


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncGenerator[Stack]:
    async with running_stack([PROBE], data=tmp_path / "data") as stack:
        yield stack


def body() -> Iterator[bytes]:
    for _ in range(UPLOAD_MB):
        yield b"x" * 1_000_000


@pytest.mark.slow
def test_h10_many_large_payloads_at_once_take_a_few_megabytes_each(stack: Stack) -> None:
    [submit] = stack.processes("submit")
    api = HttpApi(f"{stack.public}/probe")
    began_mb = memory_mb(submit)
    upload_all(api)
    assert memory_mb(submit, "VmHWM") - began_mb < UPLOADS * EACH_MB
    settled_mb = memory_mb(submit)  # includes S3's client and its threads
    assert settled_mb - began_mb < UPLOADS * EACH_MB / 3
    upload_all(api)
    assert memory_mb(submit) - settled_mb < KEPT_MB


def upload_all(api: HttpApi) -> None:
    with ThreadPoolExecutor(UPLOADS) as pool:
        bodies = [body() for _ in range(UPLOADS)]
        ids = list(pool.map(api.submit, bodies, ["application/octet-stream"] * UPLOADS))
    for id in ids:
        assert api.end(id)["result"] == {"type": "bytes", "length": UPLOAD_MB * 1_000_000}
