"""The Valkey of `insula up`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from insula_local.parts import Parts
from insula_local.supervision import probes
from insula_local.valkey import allocator
from tests.contract.local.conftest import Bench
from tests.waiting import until


async def test_i1_durable_accept_valkey_keeps_answered_writes_through_kill_9(bench: Bench, parts: Parts) -> None:
    """After SIGKILL and a restart on the same socket and data, Valkey has every answered write."""
    valkey = await bench.start_ready(parts.valkey())
    async with Redis.from_url(parts.redis_url) as redis:
        found = cast("dict[str, str]", await redis.config_get("appendonly", "appendfsync"))
        assert found == {"appendonly": "yes", "appendfsync": "always"}
        for number in range(100):
            await redis.set(f"key {number}", number)
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)
    await until(lambda: len(bench.watched.was_ready) == 2)
    async with Redis.from_url(parts.redis_url) as redis:
        assert [await redis.get(f"key {number}") for number in range(100)] == [b"%d" % each for each in range(100)]


async def test_valkey_has_no_port_and_its_socket_is_private_to_its_user(bench: Bench, parts: Parts) -> None:
    valkey = await bench.start_ready(parts.valkey())
    assert valkey.pid is not None
    async with Redis.from_url(parts.redis_url) as redis:
        assert (await redis.config_get("port"))["port"] == "0"
    assert parts.socket("valkey").stat().st_mode & 0o777 == 0o700
    assert parts.data.sockets.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif("LD_PRELOAD" not in allocator(), reason="jemalloc is not installed")
async def test_valkey_runs_with_the_jemalloc_of_the_machine(bench: Bench, parts: Parts) -> None:
    valkey = await bench.start_ready(parts.valkey())
    assert allocator()["LD_PRELOAD"] in Path(f"/proc/{valkey.pid}/maps").read_text()


async def test_a_stray_server_on_the_socket_does_not_count_as_ready(bench: Bench, parts: Parts) -> None:
    """The probe compares the pid of the part with the pid that listens on the socket."""
    valkey = await bench.start_ready(parts.valkey())
    assert valkey.pid is not None
    probe = probes.redis(parts.socket("valkey"))
    assert await probe(valkey.pid)
    with subprocess.Popen(["sleep", "60"]) as other:
        with pytest.raises(probes.Stranger):
            await probe(other.pid)
        other.kill()
