"""The registry of deployed APIs, on a real Redis."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from insula.errors import ApiNotFound, EndpointTaken, StoreUnavailable
from insula.keys import APIS, ENDPOINTS, ApiKeys
from insula.registry import Registration, Registry, RegistryCache
from insula.registry import cache as caching
from insula.registry import index as indexing
from insula.registry.index import CLAIM_MS, EndpointClaim
from insula.stores.redis_client import connect
from insula.v1.worker_service_pb2 import Worker
from tests.contract.ledger.stepping import Killed, Stall, after, die, stepping
from tests.valkey import Valkey

KEY = ApiKeys("iris").registration


@pytest.fixture
def registry(redis: Redis) -> Registry:
    return Registry(redis)


async def deploy(registry: Registry, name: str, version: str = "v1", *, endpoint: str = "") -> Registration:
    return await registry.deploy(name, endpoint or f"/{name}", version, '{"x": 1}', 100)


async def owners(registry: Registry) -> dict[str, str]:
    """Return a map from each endpoint to the name of the live API that services find there."""
    live = RegistryCache(registry, tombstones=False)
    found = dict[str, str]()
    for endpoint in await registry.endpoints():
        try:
            found[endpoint] = (await live.by_endpoint(endpoint)).name
        except ApiNotFound:
            continue
    return found


async def test_a_registration_goes_from_deployed_to_removed(redis: Redis, registry: Registry) -> None:
    first = await deploy(registry, "iris")
    assert first == await registry.find("iris") == (await registry.all())["iris"]
    assert await deploy(registry, "iris") == first, "the same version changes nothing"
    await registry.promote("iris", "v0")
    assert await registry.find("iris") == first, "another version is wanted"
    await registry.promote("iris", "v1")
    assert (await registry.refresh("iris")).generation == 1
    second = await deploy(registry, "iris", "v2")
    assert (second.version, second.active_version, second.generation) == ("v2", "v1", 1)
    assert second.active is not None
    await registry.remove("iris")
    assert await registry.find("iris") == second, "only tombstones are removed"

    await registry.delete("iris")
    tombstone = (await registry.all())["iris"]
    assert not tombstone.live
    for call in (registry.delete("iris"), registry.refresh("iris"), registry.promote("iris", "v2")):
        with pytest.raises(ApiNotFound):
            await call
    again = await deploy(registry, "iris", "v3")
    assert (again.live, again.active_version, again.generation) == (True, "", 0), "nothing of the old one is left"
    await registry.delete("iris")
    for _ in range(2):
        await registry.remove("iris")
    assert await redis.keys() == []
    assert (await registry.find("iris"), await registry.all()) == (None, {})


async def test_deploying_a_version_again_restores_its_configuration(redis: Redis, registry: Registry) -> None:
    """Workers refuse a configuration that was changed in Redis."""
    await deploy(registry, "iris")
    client: Any = redis
    await client.hset(KEY, "spec", "{}")
    assert (await deploy(registry, "iris")).spec == '{"x": 1}'
    assert (await registry.all())["iris"].spec == '{"x": 1}'


async def test_an_endpoint_belongs_to_one_live_api(registry: Registry) -> None:
    await deploy(registry, "iris", endpoint="/x")
    with pytest.raises(EndpointTaken, match="belongs to the API iris"):
        await deploy(registry, "other", endpoint="/x")
    assert await registry.find("other") is None
    await deploy(registry, "iris", "v2", endpoint="/y")
    await deploy(registry, "other", endpoint="/x")
    assert await owners(registry) == {"/x": "other", "/y": "iris"}
    await registry.delete("other")
    await deploy(registry, "third", endpoint="/x")
    assert await owners(registry) == {"/x": "third", "/y": "iris"}
    await registry.remove("other")
    assert await owners(registry) == {"/x": "third", "/y": "iris"}


async def test_an_api_that_changes_its_endpoint_leaves_no_claim(redis: Redis, registry: Registry) -> None:
    client: Any = redis
    await deploy(registry, "iris", endpoint="/x")
    await client.hset(ENDPOINTS, "/x", "1000 iris")  # an old claim, of 1970
    await deploy(registry, "iris", "v2", endpoint="/y")
    assert await registry.endpoints() == {"/y": "iris"}


async def test_one_of_several_concurrent_deployments_gets_the_endpoint(valkey: Valkey, redis: Redis) -> None:
    clients = [connect(valkey.url) for _ in range(8)]
    calls = (deploy(Registry(client), f"api-{n}", endpoint="/x") for n, client in enumerate(clients))
    results = await asyncio.gather(*calls, return_exceptions=True)
    [winner] = [result for result in results if isinstance(result, Registration)]
    assert sum(isinstance(result, EndpointTaken) for result in results) == 7
    assert await owners(Registry(redis)) == {"/x": winner.name}
    assert (await Registry(redis).all()).keys() == {winner.name}
    for client in clients:
        await client.aclose()


async def sweep(registry: Registry) -> None:
    """Remove deleted APIs, as the sweeper does once an API has no workload."""
    await registry.tidy()
    for api in (await registry.all()).values():
        await registry.remove(api.name)


@pytest.mark.parametrize("commands", range(12))
async def test_leftovers_of_a_killed_deployment_or_removal_are_removed(
    redis: Redis, registry: Registry, valkey: Valkey, commands: int
) -> None:
    """The deployment of an API, then its removal, is killed after `commands` commands of Redis.

    Either leaves some keys behind. The next sweeps remove them.
    """
    other = await deploy(registry, "other")
    doomed = stepping(valkey.url, after(commands, die))
    with suppress(Killed):
        await deploy(Registry(doomed), "iris")
    if await registry.find("iris") is None:
        await registry.tidy()
        assert await registry.endpoints() == {"/other": "other"}
    assert (await registry.all()).get("iris") == await registry.find("iris")
    await doomed.aclose()

    await deploy(registry, "iris")
    await registry.delete("iris")
    doomed = stepping(valkey.url, after(commands, die))
    with suppress(Killed):
        await Registry(doomed).remove("iris")
    await sweep(registry)
    await sweep(registry)
    assert (await registry.endpoints(), await registry.all()) == ({"/other": "other"}, {"other": other})
    assert set(cast(list[bytes], await redis.keys())) == {
        key.encode() for key in (APIS, ENDPOINTS, ApiKeys("other").registration)
    }
    await doomed.aclose()


@pytest.mark.parametrize("stalls", ["remove", "deploy"])
@pytest.mark.parametrize("commands", range(9))
async def test_a_deployment_wins_over_a_concurrent_removal(
    redis: Redis, registry: Registry, valkey: Valkey, commands: int, stalls: str
) -> None:
    """One of the two stalls after any number of commands, while the other one completes."""
    await deploy(registry, "iris")
    await registry.delete("iris")
    stall = Stall()
    stalling = stepping(valkey.url, after(commands, stall.wait))
    late, other = Registry(stalling), registry
    remover, deployer = (late, other) if stalls == "remove" else (other, late)
    calls = [remover.remove("iris"), deploy(deployer, "iris", "v2")]
    first, second = calls if stalls == "remove" else reversed(calls)
    held_up: asyncio.Task[Any] = asyncio.create_task(first)
    await stall.reached_by(held_up)
    await second
    stall.over.set()
    await held_up
    found = (await registry.all()).get("iris")
    assert found is not None
    assert (found.version, found.live) == ("v2", True)
    assert await owners(registry) == {"/iris": "iris"}
    await stalling.aclose()


async def test_a_deployment_that_is_killed_leaves_the_version_before_or_the_new_one(
    redis: Redis, registry: Registry, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the kill, the same API can be deployed again at once.

    Another API can take the free endpoint once the killed deployment's claim to it has expired.
    """
    for commands in range(100):
        await redis.flushall()
        before = await deploy(registry, "iris", endpoint="/x")
        doomed = stepping(valkey.url, after(commands, die))
        try:
            await deploy(Registry(doomed), "iris", "v2", endpoint="/y")
            break
        except Killed:
            found = await registry.find("iris")
            assert found is not None
            assert found == before or (found.version, found.endpoint) == ("v2", "/y")
            assert await owners(registry) == {found.endpoint: "iris"}
            with monkeypatch.context() as patch:
                patch.setattr(indexing, "CLAIM_MS", 0)
                free = "/y" if found == before else "/x"
                await deploy(registry, "other", endpoint=free)
            await deploy(registry, "iris", "v3", endpoint="/z")
            assert await owners(registry) == {"/z": "iris", free: "other"}
        finally:
            await doomed.aclose()
    else:
        pytest.fail("it never came through")
    assert commands > 5


@pytest.mark.parametrize(
    ("registration", "stands"),
    [
        (None, True),  # its first deployment may be running
        ({"endpoint": "/x", "updated_ms": 1000}, True),
        ({"endpoint": "/y", "updated_ms": 1000}, False),  # its endpoint changed after the claim
        ({"endpoint": "/y", "updated_ms": 999}, True),  # a deployment may be changing its endpoint
        ({"endpoint": "/x", "updated_ms": 1, "deleted_ms": 2000}, False),
        ({"endpoint": "/x", "updated_ms": 1, "deleted_ms": 500}, True),  # it may be deployed again now
    ],
)
def test_a_claim_is_valid_while_its_deployment_may_be_running(
    registration: dict[str, str | int] | None, *, stands: bool
) -> None:
    fields = {key.encode(): str(value).encode() for key, value in (registration or {}).items()}
    found = Registration.parse("iris", fields) if registration else None
    claim = EndpointClaim(1000, "iris")
    assert claim.stands("/x", found, 1000 + CLAIM_MS - 1) is stands
    confirmed = found is not None and found.live and found.endpoint == "/x"
    assert claim.stands("/x", found, 1000 + CLAIM_MS) is confirmed


async def test_a_worker_reads_its_own_registration_only(redis: Redis, registry: Registry) -> None:
    """A worker reads once a second. Reading all of 50 APIs took 110 kB each time."""
    for number in range(50):
        await registry.deploy(f"api-{number}", f"/api-{number}", "v1", json.dumps({"x": "y" * 900}), 100)
    await registry.find("api-7")

    async def sent_bytes() -> int:
        return int((await redis.info("stats"))["total_net_output_bytes"])

    before = await sent_bytes()
    info_bytes = await sent_bytes() - before
    before = await sent_bytes()
    await registry.find("api-7")
    assert await sent_bytes() - before - info_bytes < 2_000


async def test_fields_of_a_later_version_are_kept_in_a_registration(redis: Redis, registry: Registry) -> None:
    await deploy(registry, "iris")
    client: Any = redis
    await client.hset(KEY, "later", "x")
    await registry.promote("iris", "v1")
    await registry.refresh("iris")
    await deploy(registry, "iris", "v2")
    await registry.delete("iris")
    assert await client.hget(KEY, "later") == b"x"


async def test_a_registration_with_fewer_fields_is_read(redis: Redis, registry: Registry) -> None:
    client: Any = redis
    await client.hset(APIS, "iris", "a mark of another kind")
    await client.hset(KEY, mapping={"version": "v1", "spec": "{}"})
    await client.hset(ENDPOINTS, "/iris", "1 iris and more")
    assert await registry.all() == {"iris": Registration("iris", "/iris", "v1", "{}", 102_400, 0, 0)}
    assert await owners(registry) == {"/iris": "iris"}
    assert (await registry.refresh("iris")).generation == 1


async def test_reports_of_another_version_are_read(redis: Redis, registry: Registry) -> None:
    """A worker's report is a protobuf message. A later version may send more fields, an earlier one fewer."""
    await registry.report("iris", "alice", [Worker(name="alice", api="iris", version="v1")])
    client: Any = redis
    key = ApiKeys("iris").workers
    report = await client.hget(key, "alice")
    later = bytes([0xFA, 0x3F, 1]) + b"x"  # field 1023, one byte of text
    await client.hset(key, "alice", report + later)
    [worker] = await registry.workers("iris")
    assert (worker.name, worker.version, worker.phase) == ("alice", "v1", "")
    await client.delete(key)


async def test_services_see_a_change_within_a_second_and_report_an_outage(valkey: Valkey, redis: Redis) -> None:
    registry = Registry(connect(valkey.url))
    cache, reads = RegistryCache(registry, tombstones=True), RegistryCache(registry, tombstones=False)
    with pytest.raises(ApiNotFound):
        await cache.by_name("iris")
    await deploy(registry, "iris")
    assert (await cache.by_name("iris")).version == "v1", "a miss is looked up at once"
    assert (await reads.by_endpoint("iris")).name == "iris"
    await deploy(registry, "iris", "v2")
    async with asyncio.timeout(caching.REFRESH_S + 0.5):
        while (await cache.by_name("iris")).version != "v2":
            await asyncio.sleep(0)
    await registry.delete("iris")
    with pytest.raises(ApiNotFound):
        await RegistryCache(registry, tombstones=False).by_endpoint("/iris")
    assert not (await RegistryCache(registry, tombstones=True).by_endpoint("/iris")).live

    away = RegistryCache(Registry(connect("redis://127.0.0.1:1")), tombstones=True)
    with pytest.raises(StoreUnavailable):
        await away.by_name("iris")
    assert await redis.exists(KEY) == 1
