"""Each method of KEDA's external scaler, from two replicas of results on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from typing import Any, cast

import grpc
import pytest
from redis.asyncio import Redis

from insula.externalscaler.externalscaler_pb2 import GetMetricsRequest, IsActiveResponse, ScaledObjectRef
from insula.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from insula.ids import new_id
from insula.keys import ApiKeys
from insula.ledger import Claimant, LedgerPolicy, Payload, Result, WorkloadLedger
from insula.project import ApiSpec
from insula.registry import Registry
from insula.stores.redis_client import connect
from tests.contract.scaling.replicas import Results, stop, two_results
from tests.valkey import Valkey, running_valkey
from tests.waiting import until_awaited

ALICE = Claimant("alice", "v1", "")
LONG_S = 60
SPEC = ApiSpec.from_json(
    b'{"name": "echo", "kind": "AsyncAPI", "handler": {"type": "python", "path": "handler.py"},'
    b' "autoscaling": {"target_replica_concurrency": 2.5, "window": "10s"}}'
)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Generator[Valkey]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="module")
def replicas(valkey: Valkey) -> Generator[tuple[Results, Results]]:
    with two_results({"INSULA_REDIS_URL": valkey.url}) as found:
        yield found


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    """Return an empty Redis with the API `echo`."""
    client = connect(valkey.url)
    await client.flushall()
    await Registry(client).deploy("echo", "/echo", "v1", SPEC.to_json().decode(), 100)
    yield client
    await client.aclose()


@pytest.fixture
async def ledger(redis: Redis) -> WorkloadLedger:
    ledger = WorkloadLedger(redis, LedgerPolicy())
    await ledger.open("echo")
    return ledger


@pytest.fixture
async def scaler(replicas: tuple[Results, Results], redis: Redis) -> AsyncIterator[Any]:
    """Return the stub of the first replica, once its copy of the registry has `echo`, as after half a second."""
    async with grpc.aio.insecure_channel(replicas[0].scaler) as channel:
        stub: Any = ExternalScalerStub(channel)

        async def knows_echo() -> bool:
            try:
                await stub.IsActive(reference())
            except grpc.aio.AioRpcError:
                return False
            return True

        await until_awaited(knows_echo)
        yield stub


def reference(api: str = "echo", **metadata: str) -> ScaledObjectRef:
    return ScaledObjectRef(name="api-echo", namespace="ml", scalerMetadata={"api": api, **metadata})


def metrics(metric: str = "insula-echo") -> GetMetricsRequest:
    return GetMetricsRequest(scaledObjectRef=reference(), metricName=metric)


async def submit(ledger: WorkloadLedger, count: int = 1) -> None:
    for _ in range(count):
        await ledger.submit("echo", new_id(), Payload("text/plain", 2, inline=b"hi"), queue_limit=100)


async def finish_all(ledger: WorkloadLedger) -> None:
    _, claims = await ledger.claim("echo", ALICE, count=100)
    for claim in claims:
        await ledger.finish(claim.lease, Result(inline=b"{}"))


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


async def test_the_metric_is_named_after_the_api_and_has_its_target(scaler: Any) -> None:
    [spec] = (await scaler.GetMetricSpec(reference())).metricSpecs
    assert (spec.metricName, spec.targetSizeFloat, spec.targetSize) == ("insula-echo", 2.5, 0)
    [spec] = (await scaler.GetMetricSpec(reference(target="4"))).metricSpecs
    assert spec.targetSizeFloat == 4


async def test_the_value_is_the_average_of_the_workloads_in_flight(
    scaler: Any, redis: Redis, ledger: WorkloadLedger
) -> None:
    """Zero is zero in both fields: KEDA reads metricValue if metricValueFloat is 0."""
    [value] = (await scaler.GetMetrics(metrics())).metricValues
    assert (value.metricName, value.metricValueFloat, value.metricValue) == ("insula-echo", 0, 0)
    await redis.delete(ApiKeys("echo").samples)
    await submit(ledger, 3)
    [value] = (await scaler.GetMetrics(metrics(""))).metricValues
    assert (value.metricName, value.metricValueFloat, value.metricValue) == ("insula-echo", 3, 0)
    assert (await scaler.IsActive(reference())).result is True
    await finish_all(ledger)
    assert (await scaler.IsActive(reference())).result is False
    [value] = (await scaler.GetMetrics(metrics(""))).metricValues
    assert 0 < value.metricValueFloat <= 3, "the window still has the workloads"


async def test_both_replicas_return_the_same(
    replicas: tuple[Results, Results], scaler: Any, ledger: WorkloadLedger
) -> None:
    await submit(ledger, 2)
    async with grpc.aio.insecure_channel(replicas[1].scaler) as channel:
        other: Any = ExternalScalerStub(channel)

        async def same() -> bool:
            first = await scaler.GetMetrics(metrics())
            return bool(first == await other.GetMetrics(metrics()) and first.metricValues[0].metricValueFloat > 0)

        for _ in range(5):
            await until_awaited(same)
        assert await other.IsActive(reference()) == await scaler.IsActive(reference())


async def test_wrong_metadata_is_refused_with_a_text_that_names_the_key(scaler: Any) -> None:
    for request in (ScaledObjectRef(), reference(api="")):
        code, text = await refusal(scaler.IsActive(request))
        assert (code, '"api" is missing' in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    for target in ("0", "-1", "nan", "inf", "many", ""):
        code, text = await refusal(scaler.GetMetricSpec(reference(target=target)))
        assert (code, '"target" must be' in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    code, text = await refusal(scaler.GetMetrics(metrics("s0-insula-echo")))
    assert (code, "metricName" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_a_method_that_only_newer_kedas_call_is_unimplemented(replicas: tuple[Results, Results]) -> None:
    async with grpc.aio.insecure_channel(replicas[0].scaler) as channel:
        untyped: Any = channel
        stream = untyped.unary_stream("/externalscaler.ExternalScaler/StreamMetricSpec")(b"")
        assert (await refusal(stream.read()))[0] is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["IsActive", "GetMetricSpec"])
async def test_an_unknown_or_deleted_api_is_not_found(
    scaler: Any, redis: Redis, ledger: WorkloadLedger, method: str
) -> None:
    """A deleted API is registered as long as its records can be read."""
    call = getattr(scaler, method)
    code, text = await refusal(call(reference(api="nobody")))
    assert (code, "'nobody'" in text) == (grpc.StatusCode.NOT_FOUND, True)
    await submit(ledger)
    stream = scaler.StreamIsActive(reference())
    assert (await stream.read()).result is True
    await Registry(redis).delete("echo")
    assert (await refusal(stream.read()))[0] is grpc.StatusCode.NOT_FOUND
    assert (await refusal(call(reference())))[0] is grpc.StatusCode.NOT_FOUND
    assert await Registry(redis).find("echo")


async def test_a_stream_reports_each_change_of_activity(scaler: Any, ledger: WorkloadLedger) -> None:
    """The first workload is reported within a second, because Redis wakes the stream."""
    stream = scaler.StreamIsActive(reference())
    assert (await stream.read()).result is False
    for _ in range(3):
        async with asyncio.timeout(1):
            await submit(ledger)
            assert (await stream.read()).result is True
        await finish_all(ledger)
        assert (await stream.read()).result is False
    stream.cancel()


async def test_many_scaled_objects_of_an_api_share_one_reader(
    scaler: Any, redis: Redis, ledger: WorkloadLedger
) -> None:
    streams = [scaler.StreamIsActive(reference()) for _ in range(20)]
    for stream in streams:
        assert (await stream.read()).result is False
    clients = await redis.client_list()
    assert sum(client["cmd"] == "xread" for client in clients) == 1
    await submit(ledger)
    for stream in streams:
        assert (await stream.read()).result is True
        stream.cancel()


async def test_only_apis_that_keda_asks_about_are_sampled(scaler: Any, redis: Redis) -> None:
    await Registry(redis).deploy("quiet", "/quiet", "v1", SPEC.to_json().decode(), 100)
    await scaler.IsActive(reference())
    assert await redis.exists(ApiKeys("echo").samples) == 1
    assert await redis.exists(ApiKeys("quiet").samples) == 0


async def test_a_stream_samples_every_slot(scaler: Any, redis: Redis, ledger: WorkloadLedger) -> None:
    """The HPA asks only every 15 s. Its questions alone would leave most slots of 2 s without a sample."""
    stream = scaler.StreamIsActive(reference())
    await stream.read()
    times: set[int] = set()

    async def three_in_a_row() -> bool:
        times.update(map(int, cast(list[bytes], await redis.hkeys(ApiKeys("echo").samples))))
        return len(times) >= 3

    await until_awaited(three_in_a_row)
    assert max(times) - min(times) == 2000 * (len(times) - 1)
    stream.cancel()


async def test_an_outage_of_redis_changes_nothing(valkey: Valkey, scaler: Any, ledger: WorkloadLedger) -> None:
    """KEDA keeps the replicas after UNAVAILABLE. The open stream sends nothing and reports the next workload."""
    stream = scaler.StreamIsActive(reference())
    assert (await stream.read()).result is False
    reading = asyncio.ensure_future(stream.read())
    valkey.kill()
    for method, request in ((scaler.IsActive, reference()), (scaler.GetMetrics, metrics())):  # 2 s each
        assert await refusal(method(request)) == (grpc.StatusCode.UNAVAILABLE, "Redis does not answer")
    assert (await scaler.GetMetricSpec(reference())).metricSpecs[0].targetSizeFloat == 2.5
    assert not reading.done()
    valkey.start()
    await submit(ledger)
    async with asyncio.timeout(LONG_S):
        assert cast(IsActiveResponse, await reading).result is True
    stream.cancel()


async def test_a_stream_ends_with_ok_when_its_replica_stops(valkey: Valkey, redis: Redis) -> None:
    """After an error KEDA would wait longer each time, for up to 60 s, before it opens the next stream."""
    third = Results({"INSULA_REDIS_URL": valkey.url})
    third.wait()
    async with grpc.aio.insecure_channel(third.scaler) as channel:
        stream: Any = ExternalScalerStub(channel).StreamIsActive(reference())
        assert (await stream.read()).result is False
        stopping = asyncio.create_task(asyncio.to_thread(stop, third.process))
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK
        assert await stopping == 0
