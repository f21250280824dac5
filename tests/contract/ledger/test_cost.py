"""What a request costs, in numbers that do not depend on the machine: commands, round trips, calls of functions.

A change of the code that needs more must also change the number here, and give the reason.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from types import FrameType
from typing import Any, Final, cast

import pytest
from redis.asyncio import Redis

from insula.ids import new_id
from insula.ledger import Claimant, Payload, Result, WorkloadLedger
from insula.registry import Registry, RegistryCache, cache
from insula.stores.redis_wire import Call, Wire
from insula.v1.results_service_pb2 import DownloadWorkloadRequest
from insula.v1.submit_service_pb2 import SubmitWorkloadRequest
from insula_results.results_servicer import ResultsServicer
from insula_submit.admission import Admission
from insula_submit.submit_servicer import SubmitServicer

BODY: Final = b'{"key": "%s"}' % (b"x" * 200)
BATCH: Final = 20
COMMANDS: Final = {
    "submit": "evalsha exists*2 hget hincrby hmget hset time xadd*2 xlen",
    "read of a waiting one": "hget hmget",
    "claim": "evalsha hincrby*2 hmget hset time xadd xreadgroup xrevrange",
    "read of a running one": "hget hmget",
    "finish": "del evalsha expire hgetall hincrby*2 hset time xack xadd xdel zadd",
    "read of an ended one": "hget hmget",
    "claim of 20": "evalsha hincrby*2 hmget*20 hset*20 time xadd*3 xreadgroup xrevrange",
    "finish of 20": "del*20 evalsha expire hgetall*20 hincrby*2 hset*20 time xack xadd*3 xdel zadd",
}
"""The commands that Redis runs for each step of one workload, or of 20. Commands in scripts are included.

Each step is one round trip. One XADD records the changes of status of eight workloads."""
CALLS_MAX: Final = {"SubmitWorkload": 120, "DownloadWorkload": 135}
"""The maximum number of Python function calls for one request, from the servicer to Redis and back.

The event loop's calls are included. Python 3.11 needs 101 and 113."""


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each round trip to Redis: the number of commands in it."""
    sizes: list[int] = []
    round_trip = Wire.round_trip

    def counted(wire: Wire, calls: Sequence[Call]) -> Any:
        sizes.append(len(calls))
        return round_trip(wire, calls)

    monkeypatch.setattr(Wire, "round_trip", counted)
    return sizes


async def commands(redis: Redis, step: Callable[[], Awaitable[object]]) -> str:
    """Run `step`. Return the commands that Redis has run for it, each with its number, as in `xadd*2`."""
    await redis.config_resetstat()
    await step()
    stats = cast(dict[str, dict[str, int]], await redis.info("commandstats"))
    calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in sorted(stats.items())}
    del calls["config|resetstat"]
    return " ".join(name if number == 1 else f"{name}*{number}" for name, number in calls.items())


async def test_each_step_of_a_workload_costs_one_round_trip_and_these_commands(
    ledger: WorkloadLedger, redis: Redis, alice: Claimant, trips: list[int]
) -> None:
    payload = Payload("application/json", len(BODY), inline=BODY)
    id = new_id()

    async def submit(id: str = id) -> None:
        await ledger.submit("echo", id, payload, queue_limit=1000)

    async def claim() -> Any:
        _, [claimed] = await ledger.claim("echo", alice, count=1)
        return claimed

    async def whole(id: str) -> None:
        """Run one workload, so that Redis knows all scripts."""
        await submit(id)
        await ledger.finish((await claim()).lease, Result(inline=BODY))

    await whole(new_id())
    found: dict[str, str] = {}
    trips.clear()
    found["submit"] = await commands(redis, submit)
    found["read of a waiting one"] = await commands(redis, lambda: ledger.read("echo", id))
    claims: list[Any] = []

    async def claim_it() -> None:
        claims.append(await claim())

    found["claim"] = await commands(redis, claim_it)
    found["read of a running one"] = await commands(redis, lambda: ledger.read("echo", id))
    found["finish"] = await commands(redis, lambda: ledger.finish(claims[0].lease, Result(inline=BODY)))
    found["read of an ended one"] = await commands(redis, lambda: ledger.read("echo", id))

    for _ in range(BATCH):
        await submit(new_id())
    del claims[:], trips[6:]

    async def claim_all() -> None:
        claims.extend((await ledger.claim("echo", alice, count=BATCH))[1])

    found["claim of 20"] = await commands(redis, claim_all)
    outcomes = [(claim.lease, Result(inline=BODY)) for claim in claims]
    found["finish of 20"] = await commands(redis, lambda: ledger.finish_all(outcomes))
    assert found == COMMANDS
    assert trips == [1, 2, 1, 2, 1, 2, 1, 1]


class Context:
    """A call without metadata."""

    def invocation_metadata(self) -> tuple[()]:
        return ()


@pytest.fixture
async def servicers(
    ledger: WorkloadLedger, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> tuple[SubmitServicer, ResultsServicer]:
    """Return the servicers of an API `echo`. Their copy of the registry is never too old."""
    monkeypatch.setattr(cache, "REFRESH_S", float("inf"))
    unused: Any = None
    registry = Registry(redis)
    await registry.deploy("echo", "/echo", "v1", "{}", 1000)
    apis = RegistryCache(registry, tombstones=False)
    await apis.by_name("echo")
    admission = Admission(ledger, unused, payload_bytes_max=1 << 20, stores_folder=None)
    return SubmitServicer(admission, unused, apis), ResultsServicer(ledger, unused, apis, unused)


async def calls_of(request: Callable[[], Awaitable[object]]) -> int:
    """Return the number of calls of Python functions until `request` is answered."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        await request()
    finally:
        sys.setprofile(None)
    return calls


async def test_a_request_calls_this_many_functions_at_most(
    servicers: tuple[SubmitServicer, ResultsServicer], ledger: WorkloadLedger, alice: Claimant
) -> None:
    submits, results = servicers
    context: Any = Context()
    ids: list[str] = []

    async def submit() -> None:
        request = SubmitWorkloadRequest(api="echo", content_type="application/json", payload=BODY)
        ids.append((await submits.SubmitWorkload(request, context)).id)

    async def download() -> None:
        request = DownloadWorkloadRequest(api="echo", id=ids[0])
        [_] = [piece async for piece in results.DownloadWorkload(request, context)]

    await submit()
    _, [claim] = await ledger.claim("echo", alice, count=1)
    await ledger.finish(claim.lease, Result(inline=BODY))
    await download()
    found = {"SubmitWorkload": await calls_of(submit), "DownloadWorkload": await calls_of(download)}
    assert all(found[name] <= CALLS_MAX[name] for name in CALLS_MAX), found
