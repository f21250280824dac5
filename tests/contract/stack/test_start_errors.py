"""A service that cannot start prints the reason in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.valkey import running_valkey


def start(module: str, **environment: str) -> list[str]:
    """Run the service, which exits with code 1. Return its lines of stderr."""
    done = subprocess.run(
        [sys.executable, "-m", module],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


def test_a_taken_port_is_named_in_one_line(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as valkey, socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        lines = start("insula_results", INSULA_REDIS_URL=valkey.url, INSULA_LISTEN=address)
    assert lines[-1] == f"results: cannot listen on {address}: it is taken, or not an address of this machine"


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("http://127.0.0.1:1", "S3 does not answer: Could not connect to the endpoint URL"),
        ("127.0.0.1:1", "S3 was not called: ValueError: Invalid endpoint"),
    ],
)
def test_an_s3_that_cannot_be_reached_is_named_in_one_line(tmp_path: Path, endpoint: str, reason: str) -> None:
    with running_valkey(tmp_path) as valkey:
        listen = {"INSULA_LISTEN": "127.0.0.1:0", "INSULA_ADMIN_LISTEN": f"unix:{tmp_path}/admin.sock"}
        keys = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        [line] = start("insula_submit", INSULA_REDIS_URL=valkey.url, **listen, **keys)
    assert line.startswith(f"submit: {reason}")
