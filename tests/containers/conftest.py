"""The store of podman and the stand-in base image, for all tests of containers."""

from __future__ import annotations

import pytest

from tests.containers.engine import Podman, import_base, own_podman


@pytest.fixture(scope="session")
def podman() -> Podman:
    return own_podman()


@pytest.fixture(scope="session")
def base(podman: Podman) -> str:
    """The name of the base image of all images."""
    return import_base(podman)
