from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from insula.ledger import Claimant, LedgerPolicy, Payload, WorkloadLedger
from insula.stores.redis_client import connect
from tests.valkey import Valkey, running_valkey

REGISTRY = ("insula:apis", "insula:endpoints", "registration")
TTL_FREE = (*REGISTRY, "queue", "ended", "counts", "updates", "dead", "uploads", "closed")
"""Kinds of keys that may have no TTL (invariant I9), besides the keys of live workloads."""


@pytest.fixture(scope="package")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Generator[Valkey]:
    folder: Path = tmp_path_factory.mktemp("valkey")
    with running_valkey(folder) as server:
        yield server


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    """Return an empty Redis. After the test, check that each key has a TTL, except the kinds in TTL_FREE."""
    client = connect(valkey.url)
    await client.flushall()
    yield client
    keys = cast(list[bytes], await client.keys())
    for key in (name.decode() for name in keys):
        kind = key.rsplit("}:", 1)[-1]
        live = kind.startswith("workload:") and await client.hget(key, "status") in (b"in_queue", b"in_progress")
        assert kind in TTL_FREE or live or await client.ttl(key) > 0, f"{key} would stay for ever"
    await client.aclose()


@pytest.fixture
async def ledger(redis: Redis) -> WorkloadLedger:
    """Return a ledger with the API `echo`. Its leases last 200 ms, so that a test can wait until one has expired."""
    ledger = WorkloadLedger(redis, LedgerPolicy(lease=timedelta(milliseconds=200)))
    await ledger.open("echo")
    return ledger


@pytest.fixture
def alice() -> Claimant:
    return Claimant("alice", "v1", "127.0.0.1:1")


@pytest.fixture
def bob() -> Claimant:
    return Claimant("bob", "v1", "127.0.0.1:2")


@pytest.fixture
def payload() -> Payload:
    return Payload("text/plain", size_bytes=5, inline=b"hello")
