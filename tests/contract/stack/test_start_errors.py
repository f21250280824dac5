"""A service that cannot start says why in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.valkey import running_valkey


def test_a_taken_port_is_named_in_one_line(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as valkey, socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "insula_results"],
            env=os.environ | {"INSULA_REDIS_URL": valkey.url, "INSULA_LISTEN": address},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[-1]
        == f"results: cannot listen on {address}: it is taken, or not an address of this machine"
    )
    assert "Traceback" not in done.stderr
