"""One stack for the tests of this folder, with the projects of Cortex' handler document.

The tests check this document sentence by sentence. Their docstrings quote it.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.http_api import HttpApi
from tests.stack import Stack, running_stack

PROJECTS = Path(__file__).parents[2] / "projects"
LEFT_OUT = (
    "model.pyc",
    "model.pyo",
    "model.pyd",
    "vocabulary/words.cpython-311.pyc",
    ".hidden",
    ".folder/file.txt",
    "vocabulary/.hidden",
)
"""Files that git does not store, and that Cortex leaves out of a project."""
SIZE_LIMIT_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Document:
    """The stack with the document's projects. It runs commands of the document."""

    stack: Stack

    def api(self, name: str, endpoint: str = "") -> HttpApi:
        """Return the API at its endpoint, by default /<name>."""
        return HttpApi(f"{self.stack.public}{endpoint or f'/{name}'}")

    def curl(self, command: str, folder: Path) -> str:
        """Run a curl command of the document in `folder`, with the stack as its host. Return its output."""
        words = shlex.split(command.replace("http://***.amazonaws.com", self.stack.public))
        return subprocess.run(
            ["curl", "-sS", *words[1:]], cwd=folder, capture_output=True, check=True, text=True
        ).stdout


def complete(project: Path) -> Path:
    """Add files that a git repository cannot contain to a copy of the project my-classifier."""
    for name in LEFT_OUT:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    with (project / "big.bin").open("wb") as big:
        big.truncate(SIZE_LIMIT_BYTES + 1)
    return project


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def document(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Document]:
    copies = tmp_path_factory.mktemp("projects")
    names = ("my-classifier", "api-requests", "chaining")
    projects = [Path(shutil.copytree(PROJECTS / name, copies / name)) for name in names]
    complete(projects[0])
    async with running_stack(projects, data=tmp_path_factory.mktemp("stack")) as stack:
        assert {api["name"]: api["reason"] for api in stack.info["apis"] if api["state"] != "ready"} == {}
        yield Document(stack)
