"""The store of podman, the images and the stack, for all tests of containers."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.containers.engine import REPOSITORY, Podman, import_base, own_podman
from tests.containers.images import EXAMPLE, IN_CONTAINERS, build_images, build_stores, insula_build
from tests.containers.suite import EXAMPLE_API, Suite, examples


@pytest.fixture(scope="session")
def podman() -> Podman:
    return own_podman()


@pytest.fixture(scope="session")
def base(podman: Podman) -> str:
    """The name of the base image of all images."""
    return import_base(podman)


@pytest.fixture(scope="session")
def images(podman: Podman, base: str) -> Podman:
    """Podman, with the images of the four Dockerfiles."""
    build_images(podman)
    return podman


@pytest.fixture(scope="session")
def example(images: Podman) -> str:
    """The image that `insula build` makes of the example."""
    insula_build(images, examples(EXAMPLE_API), "--tag", EXAMPLE)
    return EXAMPLE


@pytest.fixture(scope="session")
def in_containers(images: Podman) -> str:
    """The image that `insula build` makes of tests/projects/in-containers."""
    insula_build(images, str(REPOSITORY / "tests" / "projects" / "in-containers"), "--tag", IN_CONTAINERS)
    return IN_CONTAINERS


@pytest.fixture(scope="session")
def suite(images: Podman, base: str, example: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Suite]:
    """The stack of compose.yaml, with new data."""
    build_stores(images, base)
    stack = Suite(images, Path(tmp_path_factory.mktemp("secrets")) / "secrets")
    stack.down("-v")
    try:
        stack.up()
        yield stack
    finally:
        stack.down("-v")
