"""One stack for the tests of this folder. It has APIs that work and APIs that cannot start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.http_api import HttpApi
from tests.stack import Stack, running_stack

PROJECTS = Path(__file__).parents[2] / "projects"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    projects = [PROJECTS / "rules", PROJECTS / "failing"]
    async with running_stack(projects, data=tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="package")
def api(stack: Stack) -> Callable[[str], HttpApi]:
    """Return a function that finds an API by its name."""
    return lambda name: HttpApi(f"{stack.public}/{name}")


@pytest.fixture
def echo(stack: Stack) -> HttpApi:
    """The API `echo`, which returns the type and the value of its payload."""
    return HttpApi(f"{stack.public}/echo")
