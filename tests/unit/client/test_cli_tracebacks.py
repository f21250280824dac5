"""`insula result` of a failed workload prints the traceback, or how to get it if the admin address is unknown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import typer
from typer.testing import CliRunner

from insula.cli import workloads
from insula.data_directory import stack_file
from insula.v1.api_service_pb2 import GetTracebackRequest, GetTracebackResponse
from insula.v1.workload_pb2 import Failure, Workload
from tests.unit.client.scripted import Script, serving_on_a_thread
from tests.unit.client.test_clients import FAILED, RUNNING

TRACEBACK = 'Traceback (most recent call last):\n  File "handler.py", line 3\nValueError: \x1b[31mboom\n'
SHOWN = (
    "failed: HANDLER_ERROR: boom\nTraceback (most recent call last):\n"
    '  File "handler.py", line 3\nValueError: \\x1b[31mboom\n'
)
ELSEWHERE = (
    "failed: HANDLER_ERROR: boom\nits traceback: `insula result a id-1 --admin ADDRESS`, or inside the cluster "
    "GET http://api-a:8888/id-1?traceback=1\n"
)
app = typer.Typer()
app.command()(workloads.submit)
app.command()(workloads.result)


@dataclass
class Admin:
    """An admin service that returns a traceback for every workload."""

    address: str = ""
    traceback: str = TRACEBACK
    refusal: grpc.StatusCode | None = None
    asked: list[GetTracebackRequest] = field(default_factory=list[GetTracebackRequest])

    def answer(self, request: GetTracebackRequest, context: grpc.ServicerContext) -> GetTracebackResponse:
        self.asked.append(request)
        if self.refusal is not None:
            context.abort(self.refusal, "no")
        return GetTracebackResponse(traceback=self.traceback)


@pytest.fixture
def admin() -> Iterator[Admin]:
    served = Admin()
    call = grpc.unary_unary_rpc_method_handler(
        served.answer, GetTracebackRequest.FromString, GetTracebackResponse.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("insula.v1.ApiService", {"GetTraceback": call}),)
    )
    served.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield served
    server.stop(None)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The URL of a server with a failed workload. The current folder is empty."""
    monkeypatch.chdir(tmp_path)
    with serving_on_a_thread(Script(answers=[FAILED])) as served:
        yield served


def run(*arguments: str, **environment: str) -> str:
    """Run a command that must exit with 1, and return its stderr."""
    done = CliRunner().invoke(app, list(arguments), env=environment)
    assert (done.exit_code, done.stdout) == (1, "")
    return done.stderr


def test_a_given_admin_address_shows_the_traceback(url: str, admin: Admin) -> None:
    """Control characters in the traceback are printed as escapes."""
    assert run("result", "a", "id-1", "--url", url, "--admin", admin.address) == SHOWN
    assert run("result", "a", "id-1", INSULA_URL=url, INSULA_ADMIN=admin.address) == SHOWN
    submitted = run("submit", "a", "--text", "x", "--wait", INSULA_URL=url, INSULA_ADMIN=admin.address)
    assert submitted == f"id-1 submitted\n{SHOWN}"
    assert admin.asked == [GetTracebackRequest(api="a", id="id-1")] * 3


def test_the_stack_of_the_current_folder_or_of_data_shows_the_traceback(url: str, admin: Admin, tmp_path: Path) -> None:
    file = stack_file(tmp_path / ".insula")
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"public": url, "admin": admin.address}))
    assert run("result", "a", "id-1") == SHOWN
    assert run("result", "a", "id-1", "--data", ".insula", INSULA_URL="http://127.0.0.1:1") == SHOWN
    admin.asked.clear()
    assert run("result", "a", "id-1", "--url", url) == ELSEWHERE
    assert admin.asked == [], "the stack of this folder may be another than the one at the URL"


def test_an_unknown_admin_address_prints_how_to_get_the_traceback(url: str, admin: Admin) -> None:
    """The command also prints this if no server answers at the given address, or if the server refuses the call."""
    assert run("result", "a", "id-1", "--url", url) == ELSEWHERE
    assert run("result", "a", "id-1", "--url", url, "--admin", "127.0.0.1:1") == ELSEWHERE
    for admin.refusal in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND):
        assert run("result", "a", "id-1", "--url", url, "--admin", admin.address) == ELSEWHERE


def test_a_failure_without_a_traceback_prints_none(url: str, admin: Admin) -> None:
    admin.traceback = ""
    assert run("result", "a", "id-1", "--url", url, "--admin", admin.address) == "failed: HANDLER_ERROR: boom\n"


@pytest.mark.parametrize(
    ("answer", "code", "shown"),
    [
        (RUNNING, 3, "in_progress\n"),
        (Workload(id="i", api="a", status="cancelled"), 1, "cancelled\n"),
        (
            Workload(id="i", api="a", status="failed", failure=Failure(reason="PAYLOAD_INVALID", message="no JSON")),
            1,
            "failed: PAYLOAD_INVALID: no JSON\n",
        ),
    ],
)
def test_only_an_error_of_the_handler_has_a_traceback(answer: Workload, code: int, shown: str) -> None:
    with serving_on_a_thread(Script(answers=[answer])) as url:
        done = CliRunner().invoke(app, ["result", "a", "i", "--url", url])
    assert (done.exit_code, done.stderr) == (code, shown)
