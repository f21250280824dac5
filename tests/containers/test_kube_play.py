"""`podman kube play` runs the Deployment of `insula render` as it is, beside the stack of compose.yaml."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from insula.kubernetes.options import Options
from insula.kubernetes.render import objects
from insula.project import read_project
from tests.containers.images import EXAMPLE
from tests.containers.suite import EXAMPLE_API, PROJECT, Suite, examples
from tests.waiting import until_blocking

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

POD = f"api-{EXAMPLE_API}-pod-0"
CONTAINER = f"{POD}-worker"
READY_S = 120
UNKNOWN = ("livenessProbe", "readinessProbe", "startupProbe")
"""Fields with gRPC probes, which podman 4.3 refuses."""
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


def deployment() -> dict[str, Any]:
    """Return the rendered Deployment, without what podman 4.3 does not know."""
    found = objects(read_project(Path(examples(EXAMPLE_API))), Options(image=EXAMPLE, grace_s=60))
    (made,) = (each for each in found if each["kind"] == "Deployment")
    (container,) = made["spec"]["template"]["spec"]["containers"]
    for name in UNKNOWN:
        del container[name]
    address = next(each for each in container["env"] if each["name"] == "POD_IP")
    del address["valueFrom"]  # podman knows no status.podIP
    address["value"] = "127.0.0.1"
    del container["ports"]  # podman would publish them on the machine
    return made


CONFIGURATION: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "insula-stores"},
    "data": {
        "INSULA_REDIS_URL": "redis://insula-redis:6379/0",
        "AWS_ENDPOINT_URL_S3": "http://insula-edge:8333",
        "AWS_DEFAULT_REGION": "us-east-1",
    },
}
SECRETS = ("insula-redis", "insula-admin", "insula-s3")


def make_secrets(suite: Suite, folder: Path) -> None:
    """Make the Secrets that the Deployment names, for the stack of compose.yaml, in podman's own form."""
    lines = (suite.secrets / f"worker-{EXAMPLE_API}.env").read_text(encoding="utf-8").splitlines()
    keys = dict(line.split("=", 1) for line in lines)
    values = (
        {f"worker-{EXAMPLE_API}": keys["INSULA_REDIS_PASSWORD"]},
        {"token": keys["INSULA_ADMIN_TOKEN"]},
        {name: keys[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
    )
    suite.podman("secret", "rm", *SECRETS, check=False)
    for name, secret in zip(SECRETS, values, strict=True):
        encoded = {key: b64encode(value.encode()).decode() for key, value in secret.items()}
        (folder / name).write_text(json.dumps(encoded), encoding="utf-8")
        suite.podman("secret", "create", name, str(folder / name))


@pytest.fixture(scope="module")
def played(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """The stack, in which the pod of the Deployment is the only worker of the example."""
    suite.podman("stop", suite.container(f"worker-{EXAMPLE_API}"))
    folder = tmp_path_factory.mktemp("kube")
    make_secrets(suite, folder)
    file = folder / "worker.yaml"
    file.write_text(yaml.safe_dump_all([CONFIGURATION, deployment()]), encoding="utf-8")
    suite.podman("kube", "down", str(file), check=False)
    suite.podman("kube", "play", "--network", f"{PROJECT}_handlers", str(file))
    try:
        yield suite
    finally:
        suite.podman("kube", "down", str(file), check=False)
        suite.podman("secret", "rm", *SECRETS, check=False)
        suite.podman("start", suite.container(f"worker-{EXAMPLE_API}"))


def test_the_pod_of_the_deployment_runs_a_workload(played: Suite) -> None:
    payload = json.dumps({"text": "¿Dónde está la estación?"}).encode()

    def submitted() -> str:
        try:
            return played.api(EXAMPLE_API).submit(payload, "application/json")
        except (AssertionError, OSError):
            return ""

    id = until_blocking(submitted, READY_S, lambda: played.compose("logs"))
    assert played.api(EXAMPLE_API).end(id)["result"]["language"] == "es"
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
