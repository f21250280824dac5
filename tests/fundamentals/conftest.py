from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fundamentals.blocks import README_PROJECT, write_project
from tests.stack import Stack, running_stack

ROOT = Path(__file__).parent.parent.parent


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The example that README and the pages of docs/ call, and the project whose files README shows."""
    projects = [ROOT / "examples" / "language-identifier"]
    if README_PROJECT:
        projects.append(write_project(tmp_path_factory.mktemp("readme")))
    async with running_stack(projects, data=tmp_path_factory.mktemp("fundamentals")) as running:
        yield running
