"""Metrics of handlers and of workers, as a scrape returns them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from insula.status import Status
from insula.telemetry.metrics import MetricsPortTaken, MetricsServer, Telemetry
from insula_worker.metrics import HandlerMetrics, WorkerMetrics
from insula_worker.runners.messages import Completed, Metric
from tests.addresses import free_port
from tests.contract.worker.conftest import Printed, Start, job


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
async def metrics(telemetry: Telemetry, printed: Printed) -> WorkerMetrics:
    made = WorkerMetrics(telemetry, "echo", printed.log)
    made.observe_active(lambda: 3)
    return made


@pytest.fixture
async def address(telemetry: Telemetry, metrics: WorkerMetrics) -> AsyncIterator[str]:
    address = f"127.0.0.1:{free_port()}"
    server = MetricsServer(address, telemetry, metrics.look)
    await server.start()
    yield address
    await server.stop()


async def scrape(address: str) -> dict[str, dict[str, float]]:
    """Read /metrics with Prometheus' parser. Return maps with all names, all samples, and all kinds of metrics."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/metrics") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        text = await response.text()
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    samples = {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    kinds = {family.name: family.type for family in text_string_to_metric_families(text)}
    return {"names": dict.fromkeys(names, 1.0), "samples": samples, **{kind: {"": 0.0} for kind in kinds.values()}}


async def test_a_handlers_metrics_reach_a_scrape(start: Start, telemetry: Telemetry, address: str) -> None:
    arrived = asyncio.Event()
    handler_metrics = HandlerMetrics(telemetry)

    def record(metric: Metric) -> None:
        handler_metrics.record(metric)
        if metric.name == "last":
            arrived.set()

    runner = await start(
        """
        for _ in range(3):
            self.metrics.increment("seen", 2, tags={"model": "a", "le": 'q"\\\\ '})
        self.metrics.gauge("queue.depth", 4.5)
        self.metrics.histogram("took", 0.3)
        self.metrics.gauge("wrong", float("nan"))
        self.metrics.gauge("wrong", "seven")
        self.metrics.gauge("wrong", 1, tags=["no", "dictionary"])
        self.metrics.increment("wrong", -1)
        self.metrics.gauge("last", 1)
        """,
        on_metric=record,
    )
    assert isinstance(await runner.run(job("one")), Completed)
    await arrived.wait()
    found = (await scrape(address))["samples"]
    assert found["""seen_total[('model', 'a'), ('tag_le', 'q"\\\\ ')]"""] == 6
    assert found["queue_depth[]"] == 4.5
    assert found["took_count[]"] == 1
    assert found["took_bucket[('le', '0.25')]"] == 0
    assert found["took_bucket[('le', '0.5')]"] == 1
    assert not [name for name in found if name.startswith("wrong")]
    assert "seen" in (await scrape(address))["names"], "counters are exported as the handler named them"


async def test_our_own_metrics_have_their_documented_names(address: str, metrics: WorkerMetrics) -> None:
    metrics.ended([(Status.COMPLETED, 0.2), (Status.FAILED, 7)])
    found = await scrape(address)
    names = {"cortex_async_active", "cortex_async_latency_bucket", "cortex_async_request_count"}
    assert names <= found["names"].keys()
    of_api = "('api_kind', 'AsyncAPI'), ('api_name', 'echo')"
    assert found["samples"][f"cortex_async_active[{of_api}]"] == 3
    assert found["samples"][f"cortex_async_request_count_total[{of_api}, ('status', 'failed')]"] == 1
    assert found["samples"][f"cortex_async_latency_sum[{of_api}, ('status', 'completed')]"] == 0.2


async def test_nothing_else_is_served(address: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{address}/") as response:
            assert response.status == 404
        async with session.post(f"http://{address}/metrics") as response:
            assert response.status == 405
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(b"GET /metrics HTTP/1.1\r\nx: " + b"x" * 100_000)
    with suppress(ConnectionResetError):  # closed on what it has not read
        assert await reader.read() == b""
    writer.close()


async def test_a_taken_port_is_named(address: str, telemetry: Telemetry) -> None:
    with pytest.raises(MetricsPortTaken, match=address):
        await MetricsServer(address, telemetry).start()
