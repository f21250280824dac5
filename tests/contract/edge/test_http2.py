"""HTTP/JSON over HTTP/2. Unlike HTTP/1.1, it has flow control, and clients can see trailers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contract.edge.running_edge import Listener
from tests.contract.edge.scripted_services import ScriptedResults, ScriptedSubmit

MIB = 1 << 20

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is the HTTP/2 client here, and is not installed"
)


def curl(listener: Listener, target: str, *options: str) -> bytes:
    """Send a request with prior knowledge of HTTP/2. Return curl's output: the body, unless options change it."""
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--http2-prior-knowledge", *options]
    called = subprocess.run(
        [*command, f"http://{listener.address}{target}"], capture_output=True, timeout=30, check=True
    )
    return called.stdout


def test_a_large_download_streams_through(public: Listener, results: ScriptedResults) -> None:
    """The pieces have 1 MiB, which is larger than the flow-control window of a stream."""
    results.pieces = [bytes([index]) * MIB for index in range(16)]
    assert curl(public, "/predict/1", "--fail") == b"".join(results.pieces)


def test_a_large_upload_streams_through(public: Listener, submit: ScriptedSubmit, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(bytes(16 * MIB))
    curl(public, "/predict", "--fail", "--header", "content-type: x/y", "--data-binary", f"@{body}")
    assert submit.uploads[0].payload_bytes == 16 * MIB


def test_an_http_client_gets_no_grpc_trailers(public: Listener, results: ScriptedResults) -> None:
    """The service's reply is a stream, with gRPC's status in its trailers."""
    answer = curl(public, "/predict/1", "--include")
    assert answer.startswith(b"HTTP/2 200")
    assert answer.endswith(results.pieces[0])
    assert b"grpc-" not in answer
