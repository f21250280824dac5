"""The services without `insula up`: each is a process with Unix sockets, on one Redis and one S3.

The processes run this code, or that of another version of Insula.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import grpc

from insula.rpc.admin_client import AdminClient
from insula.v1.results_service_pb2 import GetWorkloadRequest
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from insula.v1.submit_service_pb2 import SubmitWorkloadRequest
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub
from insula.v1.workload_pb2 import Workload
from tests.health import is_ready
from tests.waiting import until_blocking

START_S: Final = 120
STOP_S: Final = 60


@dataclass
class Service:
    """A running process. `address` is that of its main service, `admin` that of ApiService, if it has one."""

    address: str
    admin: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def serves(self) -> bool:
        """Whether the process' health is SERVING. A worker serves once its handler is ready."""
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        return is_ready(self.address)

    def stop(self) -> int:
        """Send SIGTERM and wait until it has ended. Return the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=STOP_S)


@dataclass
class Services:
    """Starts services. `python` is the interpreter of an environment that has the services' code."""

    folder: Path
    sockets: Path
    stores: Mapping[str, str]
    python: Path
    _ending: ExitStack = field(default_factory=ExitStack)

    def start(self, module: str, name: str, **variables: str) -> Service:
        """Start the process `name`, and return without waiting. It is ready once `Service.serves` is true."""
        listen, admin = (f"unix:{self.sockets / name}{suffix}.sock" for suffix in ("", ".admin"))
        own = {"INSULA_LISTEN": listen, "INSULA_ADMIN_LISTEN": admin} | variables
        log = self.folder / f"{name}.log"
        with log.open("ab") as file:
            environment = {**os.environ, **self.stores, **own}
            command = [str(self.python), "-P", "-m", module]
            process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        service = Service(listen, admin, process, log)
        self._ending.callback(_end, process)
        return service

    def submit(self, name: str) -> Service:
        """Start `submit`. Return once it serves."""
        return _ready(self.start("insula_submit", name))

    def results(self, name: str) -> Service:
        """Start `results`. Return once it serves."""
        return _ready(self.start("insula_results", name))

    def worker(self, api: str, name: str) -> Service:
        """Start a worker of a deployed API. Return once its handler is ready."""
        own = {"INSULA_API": api, "INSULA_WORKER": name, "INSULA_SCRATCH": str(self.folder / f"{name}.scratch")}
        return _ready(self.start("insula_worker", name, **own, INSULA_GRACE_S="20"))

    def end(self) -> None:
        """Kill the processes that still run."""
        self._ending.close()


@contextmanager
def services(folder: Path, stores: Mapping[str, str], python: Path = Path(sys.executable)) -> Generator[Services]:
    """Yield a starter of services. Its processes end with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as sockets:  # the path of a socket has 107 characters at most
        found = Services(folder, Path(sockets), stores, python)
        try:
            yield found
        finally:
            found.end()


def deploy(project: Path, submit: Service) -> None:
    """Register the APIs of a project. Workers need not run yet."""
    from insula.project import read_project

    with AdminClient.at(submit.admin) as client:
        for one in read_project(project):
            client.deploy(one.spec, one.bundle())


def submit_workload(service: Service, api: str, payload: bytes, content_type: str = "application/json") -> str:
    """Submit over gRPC. Return the id."""
    with grpc.insecure_channel(service.address) as channel:
        request = SubmitWorkloadRequest(api=api, content_type=content_type, payload=payload)
        return SubmitServiceStub(channel).SubmitWorkload(request, timeout=60).id


def read_workload(service: Service, api: str, id: str) -> Workload:
    """Read over gRPC."""
    with grpc.insecure_channel(service.address) as channel:
        request = GetWorkloadRequest(api=api, id=id)
        return ResultsServiceStub(channel).GetWorkload(request, timeout=60).workload


def _ready(service: Service) -> Service:
    until_blocking(lambda: service.serves, START_S, shown=lambda: service.log.read_text()[-1000:])
    return service


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
