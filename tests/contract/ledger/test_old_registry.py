"""Registrations in the old format, all in one hash, are migrated at the first start of this version."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from insula.keys import APIS
from insula.registry import Registration, Registry, RegistryCache
from insula.registry.old_shape import move_old_shape
from insula.stores.redis_client import connect
from tests.contract.ledger.stepping import Killed, Stall, after, die, stepping
from tests.valkey import Valkey

RECORDED = (
    # Recorded commands of an earlier version: two live APIs and a deleted one. `live` has the endpoint of the deleted.
    r"""HSET insula:apis kept {"name": "kept", "endpoint": "/kept", "version": "9c448ab8152b3c0d2a0403c44da96389",
    "spec": "{\"compute\":{\"cpu\":\"200m\"}}", "queue_limit": 102400, "created_ms": 1795703290000,
    "updated_ms": 1795703290001,
    "active_version": "9c448ab8152b3c0d2a0403c44da96389", "active_spec": "{}", "generation": 2, "deleted_ms": 0}""",
    r"""HSET insula:apis gone {"name": "gone", "endpoint": "/shared", "version": "1664f03a9ef5f2eb06da16a8c10a5baf",
    "spec": "{}", "queue_limit": 10, "created_ms": 1, "updated_ms": 2, "active_version": "", "active_spec": "",
    "generation": 0, "deleted_ms": 1795703290002}""",
    r"""HSET insula:apis live {"name": "live", "endpoint": "/shared", "version": "aa64f03a9ef5f2eb06da16a8c10a5baf",
    "spec": "{}", "queue_limit": 10, "created_ms": 3, "updated_ms": 4, "active_version": "", "active_spec": "",
    "later": [1]}""",
)
MOVED = {
    "kept": Registration(
        "kept",
        "/kept",
        "9c448ab8152b3c0d2a0403c44da96389",
        '{"compute":{"cpu":"200m"}}',
        102_400,
        1795703290000,
        1795703290001,
        "9c448ab8152b3c0d2a0403c44da96389",
        "{}",
        2,
    ),
    "gone": Registration(
        "gone", "/shared", "1664f03a9ef5f2eb06da16a8c10a5baf", "{}", 10, 1, 2, deleted_ms=1795703290002
    ),
    "live": Registration("live", "/shared", "aa64f03a9ef5f2eb06da16a8c10a5baf", "{}", 10, 3, 4),
}


COMMANDS = 1 + 4 * len(MOVED)
"""Number of Redis commands of one migration."""


@pytest.fixture(autouse=True)
async def recorded(redis: Redis) -> None:
    await record(redis)


async def record(redis: Any) -> None:
    await redis.flushall()
    for command in RECORDED:
        await redis.execute_command(*command.split(" ", 3))


async def marks_of(redis: Any) -> dict[bytes, bytes]:
    return cast(dict[bytes, bytes], await redis.hgetall(APIS))


async def is_moved(redis: Any) -> None:
    registry = Registry(redis)
    assert await registry.all() == MOVED
    for name, registration in MOVED.items():
        assert await registry.find(name) == registration
    cache = RegistryCache(registry, tombstones=True)
    assert (await cache.by_endpoint("/kept")).name == "kept"
    assert (await cache.by_endpoint("/shared")).name == "live"
    assert await marks_of(redis) == {b"kept": b"1795703290001", b"gone": b"2", b"live": b"4"}
    assert await redis.hget("insula:{live}:registration", "later") == b"[1]"


async def test_the_first_call_migrates_all_registrations(redis: Redis) -> None:
    assert await Registry(redis).all() == MOVED
    await is_moved(redis)
    await move_old_shape(redis)
    await is_moved(redis)


async def test_registrations_are_migrated_in_a_full_redis(redis: Redis) -> None:
    """Workers free the memory of a full Redis, and they need their registration for it."""
    await redis.config_set("maxmemory", 1)
    try:
        assert await Registry(redis).find("kept") == MOVED["kept"]
        await is_moved(redis)
    finally:
        await redis.config_set("maxmemory", 0)


async def test_a_worker_that_starts_first_waits_until_a_service_has_migrated_its_registration(redis: Redis) -> None:
    """A worker has no access to the old hash, which has all APIs, so it cannot migrate."""
    of_worker = Registry(redis, migrates=False)
    assert await of_worker.find("kept") is None
    await Registry(redis).all()
    assert await of_worker.find("kept") == MOVED["kept"]


async def test_services_that_start_at_the_same_time_migrate_registrations_once(valkey: Valkey, redis: Redis) -> None:
    clients = [connect(valkey.url) for _ in range(8)]
    for _ in range(10):
        await record(redis)
        await asyncio.gather(*(move_old_shape(client) for client in clients))
        await is_moved(redis)
    for client in clients:
        await client.aclose()


async def test_a_killed_migration_is_completed_by_the_next_one(valkey: Valkey, redis: Redis) -> None:
    for commands in range(COMMANDS):
        await record(redis)
        doomed = stepping(valkey.url, after(commands, die))
        with pytest.raises(Killed):
            await move_old_shape(doomed)
        await is_moved(redis)
        await doomed.aclose()


async def test_a_late_migration_reverts_no_later_change(valkey: Valkey, redis: Redis) -> None:
    """A service stalls during its migration. Another one completes it, then deploys and deletes APIs."""
    for commands in range(1, COMMANDS):
        await record(redis)
        stall = Stall()
        stalling = stepping(valkey.url, after(commands, stall.wait))
        late = asyncio.create_task(move_old_shape(stalling))
        await stall.reached.wait()
        registry = Registry(redis)
        await registry.deploy("kept", "/elsewhere", "v2", "{}", 7)
        await registry.delete("live")
        await registry.deploy("new", "/shared", "v1", "{}", 7)
        expected, marks = await registry.all(), await marks_of(redis)
        stall.over.set()
        await late
        assert (await registry.all(), await marks_of(redis)) == (expected, marks)
        cache = RegistryCache(registry, tombstones=False)
        assert (await cache.by_endpoint("/elsewhere")).version == "v2"
        assert (await cache.by_endpoint("/shared")).name == "new"
        await stalling.aclose()
