from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.stack import Stack, running_stack

PAYLOAD_BYTES_MAX = 32 << 20
PROBE = Path(__file__).parent.parent.parent / "projects" / "probe"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One stack for the folder: its tests look from outside and leave no trace that another would see."""
    data = tmp_path_factory.mktemp("stack")
    async with running_stack([PROBE], data=data, INSULA_PAYLOAD_BYTES_MAX=str(PAYLOAD_BYTES_MAX)) as running:
        yield running
