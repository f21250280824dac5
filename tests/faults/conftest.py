"""One stack that the tests of this folder share. Each test leaves it running."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.http_api import HttpApi
from tests.stack import Stack, running_stack

PROBE = Path(__file__).parent.parent / "projects" / "probe"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack([PROBE], data=tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture
def api(stack: Stack) -> HttpApi:
    """The API `probe`."""
    return HttpApi(f"{stack.public}/probe")
