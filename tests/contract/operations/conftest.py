"""S3 for the services of these tests: that of a stack. Each test has a Redis of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.environments import python_of
from tests.stack import Stack, running_stack

PROJECT = Path(__file__).parents[2] / "projects" / "rolling"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    await python_of(PROJECT)
    async with running_stack([PROJECT], data=tmp_path_factory.mktemp("operations")) as running:
        yield running


@pytest.fixture
def s3_env(stack: Stack, tmp_path: Path) -> dict[str, str]:
    """The environment variables that name a bucket for this test alone."""
    bucket = tmp_path.name.replace("_", "-").strip("-").lower()[:60]
    stack.s3().create_bucket(Bucket=bucket)
    return stack.own_s3_env | {"INSULA_S3_BUCKET": bucket}
