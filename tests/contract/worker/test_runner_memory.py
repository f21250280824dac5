"""The memory of a handler that forks."""

from __future__ import annotations

import subprocess
import sys

from insula_worker.runners.memory import Measured, bytes_over
from tests.waiting import until

SHARED_MB = 150
MODEL_AND_POOL = f"""
import os, time
model = b"x" * ({SHARED_MB} << 20)
gone, alive = os.pipe()
for _ in range(4):
    if os.fork() == 0:
        os.close(alive)
        sum(model[::4096])
        os.write(1, b"read\\n")
        os.read(0, 1)
        own = b"y" * ({SHARED_MB} << 20)
        os.read(gone, 1)
        os._exit(0)
time.sleep(60)
"""


async def test_what_forked_children_share_counts_once() -> None:
    """Memory that forked processes share counts once. Memory that each process allocates is added."""
    process = subprocess.Popen(
        [sys.executable, "-c", MODEL_AND_POOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(4)] == ["read\n"] * 4
        measured = [Measured(process.pid)]
        assert bytes_over(measured, (3 * SHARED_MB) << 20) == []
        process.stdin.write("\n" * 4)
        process.stdin.flush()
        await until(lambda: bool(bytes_over(measured, (3 * SHARED_MB) << 20)))
    finally:
        process.kill()
        process.communicate()  # its children read an end of file, and go
