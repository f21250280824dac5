"""One stack with all examples that serve a model. The tests of this folder run in each of two modes of isolation."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.environments import python_of
from tests.modes import Mode
from tests.stack import Stack, running_stack

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
IRIS = EXAMPLES / "iris-classifier"
DIGITS = EXAMPLES / "digit-recognizer"
TUMORS = EXAMPLES / "tumor-classifier"
RECEIPTS = EXAMPLES / "receipt-reader"
LANGUAGES = EXAMPLES / "language-identifier"

YES = ["--yes"]  # receipt-reader has a dependencies.sh


@pytest_asyncio.fixture(scope="package", loop_scope="session", params=[None, Mode.NO_NAMESPACES])
async def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stack]:
    projects = [IRIS, DIGITS, TUMORS, RECEIPTS]
    for project in projects:
        await python_of(project)
    data = tmp_path_factory.mktemp("stack")
    async with running_stack([*projects, LANGUAGES], data=data, options=YES, mode=request.param) as stack:
        yield stack
