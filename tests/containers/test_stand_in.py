from __future__ import annotations

import pytest

from tests.containers.engine import Podman

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]


def test_the_stand_in_has_the_python_of_the_published_image(podman: Podman, base: str) -> None:
    """The Dockerfiles need `python` with venv and pip, and nothing else of python:3.11-slim."""
    code = "import ensurepip, pip, sys, venv; print(*sys.version_info[:2])"
    assert podman("run", "--rm", "--network", "none", base, "python", "-c", code) == "3 11"
