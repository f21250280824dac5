"""submit, results and workers as processes of their own, without `insula up`, as on several machines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from insula.v1.results_service_pb2 import GetWorkloadRequest
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from insula.v1.submit_service_pb2 import SubmitWorkloadRequest
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub
from insula.v1.workload_pb2 import Workload
from tests.health import is_ready
from tests.waiting import until_blocking

READY_S = 120
END_S = 60
LARGE = b"x" * 50_000
"""A payload so large that it is stored in S3. Its result is stored there too."""
HANDLER = """
class Handler:
    def handle_async(self, payload):
        return {"characters": len(payload), "text": payload}
"""


def write_project(folder: Path, *apis: str) -> Path:
    """Write a project whose APIs return their payload."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = (f"- {{name: {api}, kind: AsyncAPI, handler: {{type: python, path: handler.py}}}}\n" for api in apis)
    (folder / "cortex.yaml").write_text("".join(entries))
    (folder / "handler.py").write_text(HANDLER)
    return folder


@dataclass
class Suite:
    """The processes of one suite.

    `variables` are the environment variables of all services. `inside` is put before each command line.
    """

    folder: Path
    variables: Mapping[str, str]
    inside: Sequence[str] = ()
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, "subprocess.Popen[bytes]"])

    def address(self, name: str) -> str:
        """Return the address of a service: a Unix socket."""
        return f"unix:{self.folder}/{name}.sock"

    def log(self, name: str) -> str:
        """Return the output of a process so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start(self, name: str, variables: Mapping[str, str], *, ready: bool = True) -> None:
        """Start submit, results, or the worker of the API `name`. With `ready`, wait until it is ready."""
        module = f"insula_{name}" if name in ("submit", "results") else "insula_worker"
        own = {
            "INSULA_LISTEN": self.address(name),
            "INSULA_ADMIN_LISTEN": self.address("admin"),
            "INSULA_API": name,
            "INSULA_WORKER": f"{name}-0",
            "INSULA_SCRATCH": str(self.folder / f"{name}.scratch"),
            "INSULA_ISOLATION": "off",
        }
        given = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "INSULA_"))}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self.inside, sys.executable, "-m", module],
                env={**given, "AWS_EC2_METADATA_DISABLED": "true", **own, **self.variables, **variables},
                stdout=log,
                stderr=log,
            )
        if ready:
            until_blocking(lambda: self._is_ready(name), READY_S, shown=lambda: self.log(name))

    def _is_ready(self, name: str) -> bool:
        code = self.processes[name].poll()
        assert code is None, f"{name} ended with {code}: {self.log(name)}"
        return is_ready(self.address(name))

    def end(self, name: str) -> int:
        """Stop a process with SIGTERM. Return its exit code."""
        self.processes[name].terminate()
        return self.processes[name].wait(timeout=END_S)

    def command(self, *words: str) -> str:
        """Run a command of `insula` with the admin address. Return its output."""
        line = [sys.executable, "-m", "insula.cli.main", *words, "--admin", self.address("admin")]
        return subprocess.run(line, check=True, capture_output=True, text=True, timeout=READY_S).stdout

    def submit(self, api: str, payload: bytes = LARGE) -> str:
        """Submit a text. Return the id of the workload."""
        with grpc.insecure_channel(self.address("submit")) as channel:
            request = SubmitWorkloadRequest(api=api, content_type="text/plain", payload=payload)
            return SubmitServiceStub(channel).SubmitWorkload(request, timeout=END_S).id

    def result(self, api: str, id: str) -> Workload:
        """Wait until a workload has ended, at most END_S. Return it."""
        with grpc.insecure_channel(self.address("results")) as channel:
            request = GetWorkloadRequest(api=api, id=id, wait=Duration(seconds=END_S))
            return ResultsServiceStub(channel).GetWorkload(request, timeout=2 * END_S).workload

    def run(self, api: str, payload: bytes = LARGE) -> Workload:
        """Submit a text and wait for its end."""
        return self.result(api, self.submit(api, payload))


@contextmanager
def running_suite(variables: Mapping[str, str], **options: Any) -> Generator[Suite]:
    """Yield a suite without processes. At the end, kill those that were started."""
    with ExitStack() as ending:
        folder = ending.enter_context(TemporaryDirectory())  # the path of a socket has 107 characters at most
        suite = Suite(Path(folder), variables, **options)
        ending.callback(_kill, suite)
        yield suite


def _kill(suite: Suite) -> None:
    for process in suite.processes.values():
        process.kill()
        process.wait()
