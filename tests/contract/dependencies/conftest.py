"""A cache folder and a Python environment for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from insula_worker.environments.environment import ensure_environment
from insula_worker.environments.key import EnvironmentInputs
from tests.environments import remove_environments
from tests.views import open_view


@pytest.fixture(scope="package")
def package_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cache(package_cache: Path) -> Iterator[Path]:
    """A cache without environments."""
    yield package_cache
    remove_environments(package_cache)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def python_with_dill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with dill only, the package of the base set that loads pickles."""
    folder = tmp_path_factory.mktemp("dill")
    inputs = EnvironmentInputs(project=folder, variables=dict(os.environ), base_set=("dill",))
    return await ensure_environment(inputs, folder / "cache", open_view(inputs.project))
