"""The traceback of a failed workload is visible to those who run the API, not to its callers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import grpc
import pytest
import requests

from insula.stores.object_keys import traceback_object
from insula.stores.tracebacks import METADATA
from insula.v1.api_service_pb2 import GetTracebackRequest
from insula.v1.api_service_pb2_grpc import ApiServiceStub
from insula.v1.results_service_pb2 import GetWorkloadRequest, WatchWorkloadRequest
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from insula.v1.workload_pb2 import Workload
from insula_local.seaweedfs.storage import BUCKET
from tests.http_api import HttpApi
from tests.stack import Stack

API = "probe"
UNKNOWN = "01a219ee-37fe-7500-aaa3-341bb8da29be"
LOCAL = (("grpc.enable_http_proxy", 0),)


def fail(stack: Stack, text: str) -> str:
    """Make the handler raise a ValueError with this text. Return the workload's id."""
    answer = HttpApi(f"{stack.public}/{API}").run(json.dumps({"raise": text}).encode(), "application/json")
    assert answer["status"] == "failed"
    return str(answer["id"])


def error_of(url: str, host: str = "") -> dict[str, Any]:
    """Return the error of the workload at the URL."""
    reply = requests.get(url, headers={"Host": host} if host else {}, timeout=10)
    assert reply.status_code == 200
    found: dict[str, Any] = reply.json()["error"]
    return found


def typed(address: str, id: str) -> Workload:
    """Return the workload, by a gRPC call to the listener at `address` that requests the traceback."""
    with grpc.insecure_channel(address.removeprefix("http://"), options=LOCAL) as channel:
        request = GetWorkloadRequest(api=API, id=id)
        return ResultsServiceStub(channel).GetWorkload(request, timeout=10, metadata=((METADATA, "1"),)).workload


def admin(stack: Stack, id: str, api: str = API) -> str:
    with grpc.insecure_channel(stack.info["admin"], options=LOCAL) as channel:
        return ApiServiceStub(channel).GetTraceback(GetTracebackRequest(api=api, id=id), timeout=10).traceback


def test_the_traceback_is_returned_inside_the_cluster_and_on_the_admin_address(stack: Stack) -> None:
    id = fail(stack, "no such luck")
    error = {"reason": "HANDLER_ERROR", "message": "ValueError: no such luck"}
    found = error_of(f"{stack.internal}/{id}?traceback=1", f"api-{API}:8888")
    traceback = found.pop("traceback")
    assert found == error
    first, *_, raising, last = traceback.splitlines()
    assert first == "Traceback (most recent call last):"
    assert raising == '    raise ValueError(payload["raise"])'
    assert last == "ValueError: no such luck"
    assert error_of(f"{stack.internal}/{API}/{id}?traceback=1") == {**error, "traceback": traceback}
    assert typed(stack.internal, id).failure.traceback == traceback
    assert admin(stack, id) == traceback
    assert error_of(f"{stack.internal}/{API}/{id}") == error, "it was not requested"


def test_the_traceback_is_not_returned_on_the_public_listener(stack: Stack) -> None:
    id = fail(stack, "no such luck")
    error = {"reason": "HANDLER_ERROR", "message": "ValueError: no such luck"}
    for query in ("", "?traceback=1", "?%74raceback=1"):
        assert error_of(f"{stack.public}/{API}/{id}{query}") == error
    found = typed(stack.public, id)
    assert (found.failure.message, found.failure.traceback) == (error["message"], "")
    with grpc.insecure_channel(stack.public.removeprefix("http://"), options=LOCAL) as channel:
        request = WatchWorkloadRequest(api=API, id=id)
        watched = ResultsServiceStub(channel).WatchWorkload(request, timeout=10, metadata=((METADATA, "1"),))
        assert [one.workload.failure.traceback for one in watched] == [""]


def test_the_last_8_kib_of_a_long_traceback_are_kept_in_s3(stack: Stack) -> None:
    """No character is cut in half. A lone surrogate is escaped, a NUL is kept."""
    id = fail(stack, "a" + "ż" * 5000 + "\ud800 \0 end")
    expected = "ż" * ((8192 - len("\\ud800 \0 end\n")) // 2) + "\\ud800 \0 end\n"
    assert len(expected.encode()) in (8191, 8192)
    stored = stack.s3().get_object(Bucket=BUCKET, Key=traceback_object(API, id, 1))["Body"].read()
    assert stored == expected.encode()
    assert error_of(f"{stack.internal}/{API}/{id}?traceback=1")["traceback"] == expected
    assert typed(stack.internal, id).failure.traceback == expected
    assert admin(stack, id) == expected


def test_a_short_traceback_needs_no_object_in_s3(stack: Stack) -> None:
    id = fail(stack, "\ud800 \0 " + "x" * 3000)
    assert admin(stack, id).endswith("ValueError: \\ud800 \0 " + "x" * 3000 + "\n")
    assert stack.s3().list_objects_v2(Bucket=BUCKET, Prefix=f"{API}/{id}/").get("Contents", []) == []


def test_a_completed_workload_and_one_with_an_invalid_payload_have_no_traceback(stack: Stack) -> None:
    done = HttpApi(f"{stack.public}/{API}").run(b"{}", "application/json")["id"]
    undecodable = HttpApi(f"{stack.public}/{API}").run(b"{", "application/json")["id"]
    assert (admin(stack, done), admin(stack, undecodable)) == ("", "")
    assert set(error_of(f"{stack.internal}/{API}/{undecodable}?traceback=1")) == {"reason", "message"}


@pytest.mark.parametrize(("api", "id"), [(API, UNKNOWN), (API, "no id"), ("nobody", UNKNOWN), ("", "")])
def test_the_admin_call_for_an_unknown_workload_is_not_found(stack: Stack, api: str, id: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        admin(stack, id, api)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_insula_result_prints_the_traceback(stack: Stack) -> None:
    """The command finds the admin address in the data directory, as it finds the public URL."""
    id = fail(stack, "no such luck")
    command = [sys.executable, "-m", "insula.cli.main", "result", API, id, "--data", stack.info["data"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    first, *rest = done.stderr.splitlines()
    assert first == "failed: HANDLER_ERROR: ValueError: no such luck"
    assert "\n".join(rest) + "\n" == admin(stack, id)
