"""The suite in containers: compose.yaml with podman-compose, and workers that are killed, stopped and confined."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.containers.images import image
from tests.containers.suite import EXAMPLE_API, GERMAN, NO_INDEX, REGISTERED_S, Suite, identify
from tests.waiting import until_blocking

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

READY_S = 120
HEALTH = """
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
with grpc.insecure_channel("{address}") as channel:
    health = health_pb2_grpc.HealthStub(channel)
    print(*(health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status for name in ("", "liveness")))
"""
ZOMBIES = """
import glob
found = 0
for name in glob.glob("/proc/[0-9]*/status"):
    try:
        found += "\\nState:\\tZ" in open(name).read()
    except OSError:  # it has ended meanwhile
        pass
print(found)
"""


@pytest.fixture(scope="module")
def hungry(suite: Suite, in_containers: str) -> str:
    """The container of a worker with 300 MB of memory, whose API is registered."""
    identify(suite)
    name = suite.start_worker("hungry", in_containers, "--memory", "300m", "--memory-swap", "300m", *NO_INDEX)
    suite.start_worker("caller", in_containers, *NO_INDEX)
    until_blocking(lambda: suite.is_registered(in_containers), REGISTERED_S)
    return name


def test_a_post_and_a_get_go_through_the_whole_suite(suite: Suite) -> None:
    ended = suite.api(EXAMPLE_API).end(identify(suite))
    assert ended["result"]["language"] == "de"


def test_a_result_is_still_there_after_down_and_up(suite: Suite) -> None:
    id = identify(suite)
    ended = suite.api(EXAMPLE_API).end(id)
    suite.down()
    suite.up()
    assert suite.api(EXAMPLE_API).end(id) == ended
    assert suite.api(EXAMPLE_API).end(identify(suite))["status"] == "completed"


def test_a_handler_calls_another_api_by_its_name(suite: Suite, hungry: str) -> None:
    """Over the DNS of the container network. Its dependencies.sh ran once, as root, when the image was built."""
    caller = suite.api("caller")
    ended = caller.end(caller.submit(GERMAN, "application/json"))
    assert ended["status"] == "completed", ended
    assert ended["result"]["answer"]["language"] == "de"
    assert ended["result"]["built_by"] == "0"
    assert ended["result"]["written"] == "from the build"


@pytest.mark.parametrize("service", ["insula-submit", "insula-results", "worker-language-identifier", "insula-edge"])
def test_a_container_has_no_root_no_capability_and_no_writable_root(suite: Suite, service: str) -> None:
    container = suite.container(service)
    lines = suite.podman("exec", container, "cat", "/proc/1/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split() == ["65532"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert "Read-only file system" in suite.podman("exec", container, "touch", "/opt/insula/x", check=False)


@pytest.mark.parametrize(
    ("service", "port"),
    [("insula-submit", 9000), ("insula-submit", 8081), ("insula-results", 9000), ("worker-language-identifier", 8081)],
)
def test_health_is_answered_without_the_token(suite: Suite, service: str, port: int) -> None:
    identify(suite)
    code = HEALTH.format(address=f"{service}:{port}")
    until_blocking(lambda: suite.execute(suite.container(service), code) == "1 1", READY_S)


def test_a_worker_reaches_no_keys_of_another_api(suite: Suite) -> None:
    """Its user in Valkey has its own keys only, and its variables have no other password."""
    code = """
import os, redis
own = {"username": os.environ["INSULA_REDIS_USER"], "password": os.environ["INSULA_REDIS_PASSWORD"]}
client = redis.Redis.from_url(os.environ["INSULA_REDIS_URL"], **own)
client.hgetall("insula:{language-identifier}:x")
try:
    client.hgetall("insula:{hungry}:x")
except redis.exceptions.NoPermissionError:
    print("refused")
"""
    assert suite.execute(suite.container("worker-language-identifier"), code) == "refused"


def test_of_the_s3_server_a_handler_reaches_its_s3_port_only(suite: Suite) -> None:
    """Its other ports have no permissions of S3. They listen on a network that workers are not in."""
    code = """
import socket
def reaches(host, port):
    try:
        socket.create_connection((host, port), 2).close()
        return True
    except OSError:
        return False
print(reaches("insula-edge", 8333), [port for port in (8333, 8888, 9333, 8080, 18333, 18888, 19333)
      if reaches("insula-s3", port)])
"""
    worker = suite.container("worker-language-identifier")
    until_blocking(lambda: suite.execute(worker, code) == "True []")  # podman's DNS may read its names just now


def test_a_handler_that_the_kernel_kills_for_memory_fails_and_its_worker_lives(suite: Suite, hungry: str) -> None:
    """The third lost attempt ends the workload (I5), and the next workload runs in the same container."""
    api = suite.api("hungry")
    failed = api.end(api.submit(b'{"mebibytes": 1000}', "application/json"))
    assert failed["status"] == "failed"
    assert failed["error"]["reason"] == "WORKER_LOST"
    assert "SIGKILL, which the kernel sends when memory runs out" in failed["error"]["message"]
    ended = api.end(api.submit(b'{"mebibytes": 1}', "application/json"))
    assert ended["result"]["mebibytes"] == 1
    assert suite.state(hungry)["Running"]
    assert suite.podman("inspect", "--format", "{{.RestartCount}}", hungry) == "0"


def test_a_handler_reads_no_secret_of_its_worker(suite: Suite, hungry: str) -> None:
    """Of all processes in its container, also of process 1, it sees its own variables only."""
    api = suite.api("hungry")
    ended = api.end(api.submit(b"{}", "application/json"))
    assert ended["result"]["reads"] == ["INSULA_API", "INSULA_VERSION"]


def test_the_orphans_of_a_handler_are_reaped(suite: Suite, hungry: str) -> None:
    api = suite.api("hungry")
    assert api.end(api.submit(b'{"orphans": 20}', "application/json"))["status"] == "completed"
    until_blocking(lambda: suite.execute(hungry, ZOMBIES) == "0")


def test_sigterm_lets_a_worker_finish_its_workload(suite: Suite, hungry: str) -> None:
    """It exits with 0 as soon as the workload has ended, within the grace of 30 s."""
    api = suite.api("hungry")
    id = api.submit(b'{"sleep_s": 3}', "application/json")
    until_blocking(lambda: api.status(id) == "in_progress")
    begun = time.monotonic()
    suite.podman("stop", "-t", "40", hungry)
    assert time.monotonic() - begun < 20
    assert suite.state(hungry)["ExitCode"] == 0
    assert api.end(id)["status"] == "completed"


@pytest.mark.parametrize(("service", "seconds"), [("insula-submit", 10), ("insula-results", 10), ("insula-edge", 15)])
def test_sigterm_ends_a_service_with_code_0(suite: Suite, service: str, seconds: int) -> None:
    container = suite.container(service)
    begun = time.monotonic()
    suite.podman("stop", "-t", "40", container)
    assert time.monotonic() - begun < seconds
    assert suite.state(container)["ExitCode"] == 0
    suite.podman("start", container)


def test_sigterm_lets_the_edge_finish_an_upload(suite: Suite) -> None:
    """The upload has begun before the signal, and goes on until after it."""
    sending, stopped = threading.Event(), threading.Event()

    def body() -> Iterator[bytes]:
        yield GERMAN[:5]
        sending.set()
        assert stopped.wait(60)
        yield GERMAN[5:]

    def drains() -> int:
        return suite.podman("logs", suite.container("insula-edge")).count("edge: draining")

    identify(suite)
    before = drains()
    with ThreadPoolExecutor() as pool:
        upload = pool.submit(suite.api(EXAMPLE_API).submit, body(), "application/json")
        assert sending.wait(60)
        stop = pool.submit(suite.podman, "stop", "-t", "40", suite.container("insula-edge"))
        until_blocking(lambda: drains() > before)
        stopped.set()
        id = upload.result(60)
        stop.result(60)
    assert suite.state(suite.container("insula-edge"))["ExitCode"] == 0
    suite.podman("start", suite.container("insula-edge"))
    assert suite.api(EXAMPLE_API).end(id)["result"]["language"] == "de"


def test_a_script_that_needs_root_fails_in_a_plain_worker_with_the_advice(suite: Suite, in_containers: str) -> None:
    """Pip is used here, in a volume for the cache."""
    identify(suite)
    suite.podman("rm", "-f", "-t", "0", f"{suite.project}-caller", check=False)
    caller = suite.start_worker("caller", image("worker"))
    suite.register(in_containers, check=False)
    line = until_blocking(lambda: advised(suite, caller), 300, lambda: suite.podman("logs", caller))
    assert "Permission denied" in line or "Read-only file system" in line


def advised(suite: Suite, container: str) -> str:
    """Return the log line with which a version failed for want of an image of its own. Empty if there is none yet."""
    lines = suite.podman("logs", container).splitlines()
    return next((line for line in lines if '"phase": "failing"' in line and "build an image: insula build" in line), "")
