"""The metrics of the queues' lengths, as the results service exports them."""

from __future__ import annotations

from redis.asyncio import Redis

from insula.ids import new_id
from insula.ledger import Claimant, LedgerPolicy, Payload, WorkloadLedger
from insula.registry import Registry
from insula.stores.redis_client import connect
from insula.telemetry.metrics import Telemetry
from insula_results.queue_gauges import QueueGauges


async def test_waiting_and_running_workloads_are_counted_for_each_api(
    redis: Redis, ledger: WorkloadLedger, alice: Claimant, payload: Payload
) -> None:
    telemetry = Telemetry()
    gauges = QueueGauges(telemetry, Registry(redis), ledger)
    for api in ("echo", "idle"):
        await Registry(redis).deploy(api, f"/{api}", "v1", "{}", 100)
    for _ in range(3):
        await ledger.submit("echo", new_id(), payload, queue_limit=100)
    await ledger.claim("echo", alice, count=1)
    await gauges.look()
    found = [line for line in telemetry.render().splitlines() if not line.startswith("#")]
    for name, echo in (("queued", 2), ("queue_length", 2), ("in_flight", 3)):
        assert f'cortex_async_{name}{{api_name="echo",api_kind="AsyncAPI"}} {echo}' in found
        assert f'cortex_async_{name}{{api_name="idle",api_kind="AsyncAPI"}} 0' in found


async def test_without_redis_the_metrics_are_absent() -> None:
    telemetry = Telemetry()
    nowhere = connect("redis://127.0.0.1:1/0")
    gauges = QueueGauges(telemetry, Registry(nowhere), WorkloadLedger(nowhere, LedgerPolicy()))
    await gauges.look()
    assert "cortex_async" not in "".join(line for line in telemetry.render().splitlines() if "{" in line)
