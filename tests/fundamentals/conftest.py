from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fundamentals.blocks import PROJECT_PAGES, write_project
from tests.stack import Stack, running_stack

ROOT = Path(__file__).parent.parent.parent


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The example that README and the pages of docs/ call, and the projects whose files pages show."""
    projects = [ROOT / "examples" / "language-identifier"]
    projects += [write_project(page, tmp_path_factory.mktemp("project")) for page in PROJECT_PAGES]
    async with running_stack(projects, data=tmp_path_factory.mktemp("fundamentals")) as running:
        yield running
