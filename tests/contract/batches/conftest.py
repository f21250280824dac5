from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from tests.stack import Stack, running_stack

PROJECT = Path(__file__).parents[2] / "projects" / "batches"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One stack with the APIs `echo`, and `full`, whose queue holds 5 workloads. Each test leaves it running."""
    async with running_stack([PROJECT], data=tmp_path_factory.mktemp("batches")) as running:
        yield running


@pytest.fixture
def channel(stack: Stack) -> Iterator[grpc.Channel]:
    """A gRPC connection to the public listener."""
    with grpc.insecure_channel(stack.public.removeprefix("http://")) as channel:
        yield channel
