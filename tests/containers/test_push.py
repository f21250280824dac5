"""`insula build --push`, against Debian's docker-registry."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
import requests

from tests.addresses import free_port
from tests.containers.engine import Podman
from tests.containers.images import insula_build
from tests.containers.suite import EXAMPLE_API, examples
from tests.waiting import until_blocking

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

CONFIGURATION = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture
def registry(tmp_path: Path) -> Generator[str]:
    """The address of an empty registry."""
    port, configuration = free_port(), tmp_path / "config.yml"
    configuration.write_text(CONFIGURATION.format(folder=tmp_path, port=port))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", configuration], stdout=log, stderr=log)
        try:
            until_blocking(lambda: answers(port), shown=(tmp_path / "log").read_text)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/v2/", timeout=1).ok
    except requests.ConnectionError:
        return False


def test_the_image_of_a_project_is_pushed_and_pulled(images: Podman, example: str, registry: str) -> None:
    name = f"{registry}/language-identifier:1"
    said = insula_build(images, examples(EXAMPLE_API), "--tag", name, "--push")
    assert said.splitlines()[-1] == name
    assert requests.get(f"http://{registry}/v2/language-identifier/tags/list", timeout=5).json()["tags"] == ["1"]
    images("rmi", name)
    images("pull", name)
    images("rmi", name)
