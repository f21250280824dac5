from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from insula.cli.init import Template
from tests.stack import Stack, running_stack

PAYLOAD_BYTES_MAX = 32 << 20
PROJECTS = Path(__file__).parent.parent.parent / "projects"


@dataclass(frozen=True)
class Started:
    """A project that `insula init` wrote, and the curl command that it printed."""

    root: Path
    curl: str


@pytest.fixture(scope="package")
def started(tmp_path_factory: pytest.TempPathFactory) -> dict[Template, Started]:
    """Return a project of each template."""
    folder = tmp_path_factory.mktemp("templates")
    projects: dict[Template, Started] = {}
    for template in Template:
        words = ["init", str(folder / template), "--from", template]
        command = [sys.executable, "-m", "insula.cli.main", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        projects[template] = Started(folder / template, done.stdout.splitlines()[1])
    return projects


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory, started: dict[Template, Started]) -> AsyncIterator[Stack]:
    """Start one stack for this folder. Its tests are independent: none changes a state that another test reads."""
    projects = [PROJECTS / "probe", PROJECTS / "probe-caller", *(each.root for each in started.values())]
    data = tmp_path_factory.mktemp("stack")
    async with running_stack(projects, data=data, INSULA_PAYLOAD_BYTES_MAX=str(PAYLOAD_BYTES_MAX)) as running:
        yield running
