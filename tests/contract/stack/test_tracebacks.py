"""The traceback of a failed workload: for those who run the API, not for its callers."""

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
    """Have the handler raise a ValueError with this text; returns the workload's id."""
    answer = HttpApi(f"{stack.public}/{API}").run(json.dumps({"raise": text}).encode(), "application/json")
    assert answer["status"] == "failed"
    return str(answer["id"])


def error_of(url: str, host: str = "") -> dict[str, Any]:
    """The error of the workload at the URL."""
    reply = requests.get(url, headers={"Host": host} if host else {}, timeout=10)
    assert reply.status_code == 200
    found: dict[str, Any] = reply.json()["error"]
    return found


def typed(address: str, id: str) -> Workload:
    """The workload by a native call that asks for tracebacks, from a listener."""
    with grpc.insecure_channel(address.removeprefix("http://"), options=LOCAL) as channel:
        request = GetWorkloadRequest(api=API, id=id)
        return ResultsServiceStub(channel).GetWorkload(request, timeout=10, metadata=((METADATA, "1"),)).workload


def admin(stack: Stack, id: str, api: str = API) -> str:
    with grpc.insecure_channel(stack.info["admin"], options=LOCAL) as channel:
        return ApiServiceStub(channel).GetTraceback(GetTracebackRequest(api=api, id=id), timeout=10).traceback


def test_inside_the_cluster_and_on_the_admin_address_it_is_answered(stack: Stack) -> None:
    id = fail(stack, "no such luck")
    error = {"reason": "HANDLER_ERROR", "message": "ValueError: no such luck"}
    told = error_of(f"{stack.internal}/{id}?traceback=1", f"api-{API}:8888")
    traceback = told.pop("traceback")
    assert told == error
    first, *_, raising, last = traceback.splitlines()
    assert first == "Traceback (most recent call last):"
    assert raising == '    raise ValueError(payload["raise"])'
    assert last == "ValueError: no such luck"
    assert error_of(f"{stack.internal}/{API}/{id}?traceback=1") == {**error, "traceback": traceback}
    assert typed(stack.internal, id).failure.traceback == traceback
    assert admin(stack, id) == traceback
    assert error_of(f"{stack.internal}/{API}/{id}") == error, "nobody asks"


def test_on_the_public_listener_it_is_not(stack: Stack) -> None:
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


def test_the_last_8_kib_are_kept_in_s3(stack: Stack) -> None:
    """From a whole character on; a lone surrogate is kept as its escape, a NUL as it is."""
    id = fail(stack, "a" + "ż" * 5000 + "\ud800 \0 end")
    expected = "ż" * ((8192 - len("\\ud800 \0 end\n")) // 2) + "\\ud800 \0 end\n"
    assert len(expected.encode()) in (8191, 8192)
    stored = stack.s3().get_object(Bucket=BUCKET, Key=traceback_object(API, id, 1))["Body"].read()
    assert stored == expected.encode()
    assert error_of(f"{stack.internal}/{API}/{id}?traceback=1")["traceback"] == expected
    assert typed(stack.internal, id).failure.traceback == expected
    assert admin(stack, id) == expected


def test_a_short_one_takes_no_object(stack: Stack) -> None:
    id = fail(stack, "\ud800 \0 " + "x" * 3000)
    assert admin(stack, id).endswith("ValueError: \\ud800 \0 " + "x" * 3000 + "\n")
    assert stack.s3().list_objects_v2(Bucket=BUCKET, Prefix=f"{API}/{id}/").get("Contents", []) == []


def test_a_workload_without_one_has_none(stack: Stack) -> None:
    """It completed, or failed by its payload."""
    done = HttpApi(f"{stack.public}/{API}").run(b"{}", "application/json")["id"]
    undecodable = HttpApi(f"{stack.public}/{API}").run(b"{", "application/json")["id"]
    assert (admin(stack, done), admin(stack, undecodable)) == ("", "")
    assert set(error_of(f"{stack.internal}/{API}/{undecodable}?traceback=1")) == {"reason", "message"}


@pytest.mark.parametrize(("api", "id"), [(API, UNKNOWN), (API, "no id"), ("nobody", UNKNOWN), ("", "")])
def test_the_admin_call_finds_nothing(stack: Stack, api: str, id: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        admin(stack, id, api)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_insula_result_shows_it(stack: Stack) -> None:
    """The command finds the admin address as it finds the public URL."""
    id = fail(stack, "no such luck")
    command = [sys.executable, "-m", "insula.cli.main", "result", API, id, "--data", stack.info["data"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    first, *rest = done.stderr.splitlines()
    assert first == "failed: HANDLER_ERROR: ValueError: no such luck"
    assert "\n".join(rest) + "\n" == admin(stack, id)
