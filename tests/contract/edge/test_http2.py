"""HTTP/JSON over HTTP/2: what differs from HTTP/1.1 is flow control, and that trailers can be seen."""

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
    """Call with prior knowledge of HTTP/2; what comes back is exactly the body unless the options say otherwise."""
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--http2-prior-knowledge", *options]
    called = subprocess.run(
        [*command, f"http://{listener.address}{target}"], capture_output=True, timeout=30, check=True
    )
    return called.stdout


def test_a_large_download_streams_through(public: Listener, results: ScriptedResults) -> None:
    """In pieces of 1 MiB, more than the window of a stream."""
    results.pieces = [bytes([index]) * MIB for index in range(16)]
    assert curl(public, "/predict/1", "--fail") == b"".join(results.pieces)


def test_a_large_upload_streams_through(public: Listener, submit: ScriptedSubmit, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(bytes(16 * MIB))
    curl(public, "/predict", "--fail", "--header", "content-type: x/y", "--data-binary", f"@{body}")
    assert submit.uploads[0].payload_bytes == 16 * MIB


def test_no_trailer_of_grpc_leaks(public: Listener, results: ScriptedResults) -> None:
    """A streamed reply has its status in its trailers; an HTTP client has no use for it."""
    answer = curl(public, "/predict/1", "--include")
    assert answer.startswith(b"HTTP/2 200")
    assert answer.endswith(results.pieces[0])
    assert b"grpc-" not in answer
