"""The admin services require a token over TCP, as on several machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from insula.rpc.admin import admin_channel
from insula.v1.api_service_pb2 import ListApisRequest
from insula.v1.api_service_pb2_grpc import ApiServiceStub
from insula.v1.worker_service_pb2 import DescribeWorkerRequest, StreamLogsRequest
from insula.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.addresses import free_port
from tests.health import is_ready
from tests.stack import Stack
from tests.waiting import until_blocking

TOKEN = "a token"
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, True)


@contextmanager
def service(stack: Stack, module: str, **variables: str) -> Generator[None]:
    """Run one more service with the stack's stores. Its admin service listens on TCP."""
    stores = {"INSULA_REDIS_URL": stack.info["redis"], **stack.own_s3_env}
    environment = os.environ | stores | {"INSULA_ADMIN_TOKEN": TOKEN} | variables
    with subprocess.Popen([sys.executable, "-m", module], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, bool]:
    """Return the status code of a refused call, and whether the error names the variable to set."""
    with pytest.raises(grpc.RpcError) as refused:
        call()
    error = refused.value
    assert isinstance(error, grpc.Call)
    return error.code(), "INSULA_ADMIN_TOKEN" in (error.details() or "")


@pytest.mark.parametrize("token", ["", "another token", f"{TOKEN} "])
def test_api_service_is_refused_without_its_token(stack: Stack, token: str, tmp_path: Path) -> None:
    """The health service needs no token. With the right token, a call and `insula get` succeed."""
    address = f"127.0.0.1:{free_port()}"
    listens = {"INSULA_LISTEN": f"unix:{tmp_path}/submit.sock", "INSULA_ADMIN_LISTEN": address}
    with service(stack, "insula_submit", **listens):
        until_blocking(lambda: is_ready(address), within_s=60)
        with admin_channel(address, token) as channel:
            stub = ApiServiceStub(channel)
            assert refusal(lambda: stub.ListApis(ListApisRequest(), timeout=10)) == REFUSED
        with admin_channel(address, TOKEN) as channel:
            listed = ApiServiceStub(channel).ListApis(ListApisRequest(), timeout=10)
            assert {api.name for api in listed.apis} >= {"probe"}
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        command = [sys.executable, "-m", "insula.cli.main", "get", "probe", "-o", "json", "--admin", address]
        given = os.environ | {"INSULA_ADMIN_TOKEN_FILE": str(tmp_path / "token")}
        done = subprocess.run(command, env=given, capture_output=True, check=True, timeout=60)
        assert json.loads(done.stdout)["name"] == "probe"
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        assert (done.returncode, b"INSULA_ADMIN_TOKEN" in done.stderr) == (1, True)


def test_worker_service_is_refused_without_its_token(stack: Stack, tmp_path: Path) -> None:
    """Only administrators may read its logs."""
    address = f"127.0.0.1:{free_port()}"
    worker = {"INSULA_API": "nobodys", "INSULA_LISTEN": address, "INSULA_SCRATCH": str(tmp_path)}
    with service(stack, "insula_worker", **worker):
        with admin_channel(address, TOKEN) as channel:
            stub = WorkerServiceStub(channel)
            assert list(stub.DescribeWorker(DescribeWorkerRequest(), timeout=60, wait_for_ready=True).workers) == []
            list(stub.StreamLogs(StreamLogsRequest(), timeout=60))
        with admin_channel(address, "") as channel:
            stub = WorkerServiceStub(channel)
            assert refusal(lambda: stub.DescribeWorker(DescribeWorkerRequest(), timeout=10)) == REFUSED
            assert refusal(lambda: list(stub.StreamLogs(StreamLogsRequest(), timeout=10))) == REFUSED
