"""`podman kube play` runs the Deployment of `insula render`. It is the only worker of a stack of its own."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from insula.kubernetes.options import ADMIN_SECRET, CONFIGURATION, REDIS_SECRET, S3_SECRET, Options
from insula.kubernetes.render import objects
from insula.project import read_project
from tests.containers.engine import NAME, Podman
from tests.containers.images import build_stores
from tests.containers.suite import EXAMPLE_API, Suite, examples, identify

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

CONTAINER = f"api-{EXAMPLE_API}-pod-0-worker"
PARTS = ("insula-edge", "insula-submit", "insula-results", f"register-{EXAMPLE_API}")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
"""podman 4.3 refuses gRPC probes."""
VIEW = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
def refused(path, mode="w"):
    try:
        open(path, mode)
    except OSError as error:
        return error.strerror
files = {"image": refused("/opt/insula/x"), "tmp": refused("/tmp/x"), "cache": refused("/var/cache/insula/x")}
user = {"user": [os.getuid(), os.getgid()], "environment": refused("/proc/1/environ", "r")}
print(json.dumps(files | user | {name: status[name].strip() for name in ("CapEff", "NoNewPrivs", "Seccomp")}))
"""


def deployment(image: str) -> dict[str, Any]:
    """Return the rendered Deployment, without the fields that podman 4.3 does not know."""
    found = objects(read_project(Path(examples(EXAMPLE_API))), Options(image=image, grace_s=60))
    (made,) = (each for each in found if each["kind"] == "Deployment")
    (container,) = made["spec"]["template"]["spec"]["containers"]
    for name in PROBES:
        del container[name]
    address = next(each for each in container["env"] if each["name"] == "POD_IP")
    del address["valueFrom"]  # podman knows no status.podIP
    address["value"] = "127.0.0.1"
    del container["ports"]  # podman would publish them on the machine
    return made


def configuration() -> dict[str, Any]:
    """Return the ConfigMap that the Deployment names, with the addresses of Compose."""
    addresses = {
        "INSULA_REDIS_URL": "redis://insula-redis:6379/0",
        "AWS_ENDPOINT_URL_S3": "http://insula-edge:8333",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIGURATION}, "data": addresses}


def make_secrets(suite: Suite, folder: Path) -> None:
    """Make the Secrets that the Deployment names, in podman's form, with the keys of the stack."""
    lines = (suite.secrets / f"worker-{EXAMPLE_API}.env").read_text(encoding="utf-8").splitlines()
    keys = dict(line.split("=", 1) for line in lines)
    values = {
        REDIS_SECRET: {f"worker-{EXAMPLE_API}": keys["INSULA_REDIS_PASSWORD"]},
        ADMIN_SECRET: {"token": keys["INSULA_ADMIN_TOKEN"]},
        S3_SECRET: {name: keys[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
    }
    for name, secret in values.items():
        encoded = {key: b64encode(value.encode()).decode() for key, value in secret.items()}
        (folder / name).write_text(json.dumps(encoded), encoding="utf-8")
        suite.podman("secret", "rm", name, check=False)
        suite.podman("secret", "create", name, str(folder / name))


@pytest.fixture(scope="module")
def played(images: Podman, base: str, example: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Suite]:
    """The stack of compose.yaml without its worker. The pod of the Deployment is in the network of handlers."""
    build_stores(images, base)
    folder = tmp_path_factory.mktemp("kube")
    suite = Suite(images, folder / "secrets", f"{NAME}-kube")
    file = folder / "worker.yaml"
    file.write_text(yaml.safe_dump_all([configuration(), deployment(example)]), encoding="utf-8")

    def end() -> None:
        images("kube", "down", str(file), check=False)
        suite.down("-v")

    end()
    try:
        suite.up(*PARTS)
        make_secrets(suite, folder)
        images("kube", "play", "--network", suite.network, str(file))
        yield suite
    finally:
        end()


def test_the_pod_of_the_deployment_runs_a_workload(played: Suite) -> None:
    id = identify(played)
    assert played.api(EXAMPLE_API).end(id)["result"]["language"] == "de"
    assert id in played.podman("logs", CONTAINER)


def test_the_container_has_no_privilege(played: Suite) -> None:
    """It writes to its volumes only. A process of the same user cannot read the secrets of the worker."""
    assert json.loads(played.execute(CONTAINER, VIEW)) == {
        "user": [65532, 65532],
        "image": "Read-only file system",
        "tmp": None,
        "cache": None,
        "environment": "Permission denied",
        "CapEff": "0000000000000000",
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }


def test_the_worker_ends_by_itself_when_the_pod_is_stopped(played: Suite) -> None:
    """As the kubelet does it: SIGTERM to the container, in a pod that still has its network."""
    played.podman("stop", "-t", "60", CONTAINER)
    assert played.state(CONTAINER)["ExitCode"] == 0, played.podman("logs", CONTAINER)
