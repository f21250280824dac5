"""The stack of compose.yaml, started with podman-compose, and more workers beside it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scripts.compose_secrets import write
from tests.addresses import free_port
from tests.containers.engine import NAME, REPOSITORY, Podman, PodmanFailed
from tests.containers.images import EXAMPLE, S3, VALKEY
from tests.http_api import HttpApi
from tests.waiting import until_blocking

EXAMPLE_API: Final = "language-identifier"
APIS: Final = (EXAMPLE_API, "caller", "hungry")
LOCKED_DOWN: Final = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")
GERMAN: Final = json.dumps({"text": "Guten Tag, wie geht es Ihnen heute?"}).encode()
REGISTERED_S: Final = 120
NO_INDEX: Final = ("-e", "PIP_NO_INDEX=1")
"""With it pip installs nothing, so a worker that starts has no need of pip."""


@dataclass
class Suite:
    """The stack. `project` is its name in Compose. `started` are the containers beside those of Compose."""

    podman: Podman
    secrets: Path
    project: str = NAME
    port: int = field(default_factory=free_port)
    started: list[str] = field(default_factory=list[str])

    def compose(self, *arguments: str) -> str:
        """Run podman-compose with the stack's parameters."""
        program = Path(sys.executable).with_name("podman-compose")
        return self.podman.run(
            [program, "-p", self.project, *arguments],
            INSULA_SECRETS=str(self.secrets),
            INSULA_PORT=f"127.0.0.1:{self.port}",
            REDIS_IMAGE=VALKEY,
            S3_IMAGE=S3,
            WORKER_IMAGE=EXAMPLE,
        )

    def up(self, *services: str) -> None:
        """Start these services of the stack, or all. The first time, make its secrets."""
        write(self.secrets, APIS)
        self.compose("up", "-d", "--no-build", *services)

    def down(self, *options: str) -> None:
        """Stop the stack; with `-v` remove its data too."""
        for name in self.started:
            self.podman("rm", "-f", "-t", "0", name, check=False)
        self.started.clear()
        self.compose("down", *options)
        self.podman.forget_dead_networks()

    @property
    def network(self) -> str:
        """The network that handlers are in."""
        return f"{self.project}_handlers"

    def api(self, name: str) -> HttpApi:
        """Return the API at the published port of the edge."""
        return HttpApi(f"http://127.0.0.1:{self.port}/{name}")

    def container(self, service: str) -> str:
        """Return the name of the container of a service of compose.yaml."""
        return f"{self.project}_{service}_1"

    def start_worker(self, api: str, image: str, *options: str) -> str:
        """Start a worker as compose.yaml does, and return the name of its container."""
        name = f"{self.project}-{api}"
        self.started.append(name)
        variables = {
            "INSULA_API": api,
            "INSULA_REDIS_URL": "redis://insula-redis:6379/0",
            "AWS_ENDPOINT_URL_S3": "http://insula-edge:8333",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        words = [word for key, value in variables.items() for word in ("-e", f"{key}={value}")]
        secrets = ("--env-file", str(self.secrets / f"worker-{api}.env"))
        network = ("--network", self.network)
        self.podman("run", "-d", "--name", name, *network, *LOCKED_DOWN, *secrets, *words, *options, image)
        return name

    def register(self, image: str, *options: str, check: bool = True) -> str:
        """Register the project in an image, as a Kubernetes Job does, and return what the command wrote."""
        command = ("--entrypoint", "insula", *options, image, "deploy", "/opt/insula/project")
        secrets = str(self.secrets / "register.env")
        arguments = ("--rm", "--network", self.network, *LOCKED_DOWN, "--env-file", secrets, *command)
        return self.podman("run", *arguments, "--admin", "insula-submit:8081", check=check)

    def is_registered(self, image: str) -> bool:
        """Register the project in an image. Return whether its APIs got ready: a Job repeats a failed registration."""
        try:
            self.register(image)
        except PodmanFailed:  # such as one second without an answer of the DNS server
            return False
        return True

    def execute(self, container: str, code: str, *options: str) -> str:
        """Run Python code in a container, and return what it printed."""
        return self.podman("exec", *options, container, "python", "-P", "-c", code)

    def state(self, container: str) -> dict[str, Any]:
        """Return podman's record of the container's state."""
        found: dict[str, Any] = json.loads(self.podman("inspect", "--format", "{{json .State}}", container))
        return found


def identify(suite: Suite) -> str:
    """Submit a workload to the example, again until the API is registered, and return its id."""

    def submitted() -> str:
        try:
            return suite.api(EXAMPLE_API).submit(GERMAN, "application/json")
        except (AssertionError, OSError):
            return ""

    return until_blocking(submitted, REGISTERED_S, lambda: suite.compose("logs"))


def examples(name: str) -> str:
    """Return the folder of an example."""
    return str(REPOSITORY / "examples" / name)
