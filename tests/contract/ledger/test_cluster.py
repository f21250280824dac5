"""No script, transaction or command of Insula uses keys of two hash slots. Redis Cluster would refuse it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ClusterCrossSlotError

from insula.ids import new_id
from insula.keys import ApiKeys
from insula.ledger import Blame, Claimant, Failure, Idempotency, LedgerPolicy, Payload, Result, WorkloadLedger
from insula.ledger.in_flight import InFlightMeter
from insula.ledger.retention import Retention
from insula.registry import Registry
from insula.status import Status
from insula.stores.redis_client import connect
from tests.valkey import running_valkey
from tests.waiting import until_awaited


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Redis]:
    """Return a cluster of one node, which has every hash slot."""
    with running_valkey(tmp_path, "--cluster-enabled", "yes") as server:
        redis: Any = connect(server.url)  # redis-py leaves it untyped
        await redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

        async def is_up() -> bool:
            return b"cluster_state:ok" in await redis.execute_command("CLUSTER", "INFO")

        await until_awaited(is_up)
        yield redis
        await redis.aclose()


async def test_every_script_uses_the_slot_of_its_api_only(cluster: Redis, payload: Payload, alice: Claimant) -> None:
    policy = LedgerPolicy(lease=timedelta(milliseconds=10), retention=timedelta(0))
    ledger, retention = WorkloadLedger(cluster, LedgerPolicy()), Retention(cluster, policy)
    await ledger.open("echo")
    ids = [new_id() for _ in range(4)]
    for id in ids:
        await ledger.submit("echo", id, payload, queue_limit=10, idempotency=Idempotency(id, "x"))
    await ledger.intend_upload("echo", "echo/x/payload")
    stored = Payload("text/plain", size_bytes=5, object="echo/x/payload")
    await ledger.submit("echo", new_id(), stored, queue_limit=10)
    _, claims = await ledger.claim("echo", alice, count=3)
    leases = [claim.lease for claim in claims]
    assert await ledger.renew("alice", leases) == []
    await ledger.finish(leases[0], Result(inline=b"{}"))
    await ledger.finish(leases[1], Failure("HANDLER_ERROR", "no"))
    assert await ledger.requeue(leases[2], Blame.LOST, "its runner was killed") is Status.IN_QUEUE
    assert await ledger.reclaim("echo", alice, count=5, held=(), expired=True, own_lost=True)
    assert (await InFlightMeter(cluster).measure("echo", timedelta(minutes=1))).now == 3
    await ledger.close("echo")
    abandoned = 0
    while not abandoned:
        abandoned = await retention.abandon("echo", count=5)
    expired, _ = await retention.expired("echo", count=10)
    assert len(expired) == 5
    for one in expired:
        assert await retention.forget("echo", one.id)
    await ledger.withdraw_upload("echo", "echo/x/payload")
    assert await retention.drop("echo")
    await ledger.reopen("echo")
    assert set((await ledger.counts("echo")).values()) == {0}


async def test_this_server_refuses_a_command_with_keys_of_two_slots(cluster: Redis) -> None:
    with pytest.raises(ClusterCrossSlotError):
        await cluster.delete(ApiKeys("echo").queue, ApiKeys("iris").queue)


async def test_every_step_of_the_registry_uses_one_key(cluster: Redis) -> None:
    registry = Registry(cluster)
    for name in ("iris", "other"):
        await registry.deploy(name, f"/{name}", "v1", "{}", 10)
    await registry.promote("iris", "v1")
    await registry.refresh("iris")
    await registry.report("iris", "alice", [])
    assert (await registry.all()).keys() == {"iris", "other"}
    await registry.delete("iris")
    await registry.remove("iris")
    assert await registry.endpoints() == {"/other": "other"}
