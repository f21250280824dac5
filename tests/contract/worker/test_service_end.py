"""A service that has drained ends soon, also if one of its threads waits for DNS."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from insula.process.service import THREADS_END_S

SERVICE = """
import asyncio, sys, time, uvloop
from insula.process.service import run_service

async def run(seconds):
    asyncio.get_running_loop().run_in_executor(None, time.sleep, seconds)
    await asyncio.sleep(0.1)
    print("drained", flush=True)

seconds, loop = float(sys.argv[1]), {"asyncio": asyncio, "uvloop": uvloop}[sys.argv[2]]
run_service("worker", {}, lambda _: seconds, run, loop.run)
"""
LOOPS = ("asyncio", "uvloop")


def seconds_of(thread_s: float, loop: str) -> float:
    """Run a service that stops while a thread sleeps for `thread_s`. Return how long it runs, in seconds."""
    begun = time.monotonic()
    command = [sys.executable, "-c", SERVICE, str(thread_s), loop]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "drained\n"
    return time.monotonic() - begun


@pytest.mark.parametrize("loop", LOOPS)
def test_a_service_does_not_wait_for_a_thread_that_does_not_end(loop: str) -> None:
    assert seconds_of(50, loop) < 30


@pytest.mark.parametrize("loop", LOOPS)
def test_a_service_waits_for_a_thread_that_ends_soon(loop: str) -> None:
    assert 1 < seconds_of(1, loop) < THREADS_END_S + 20
