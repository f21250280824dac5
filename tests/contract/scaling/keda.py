"""KEDA and the HPA as far as they meet Insula: they call the external scaler and set the replicas of one Deployment.

The calls, their order and the pauses after errors are those of KEDA's source. tests/autoscalers.py has the decisions.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc

from insula.externalscaler.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef
from insula.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from tests.autoscalers import Hpa

ROUND_ROBIN = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
RETRY_S, RETRY_S_MAX = 2.0, 60.0


@dataclass
class Change:
    """A change of the number of replicas, and what caused it: a push, a poll or the HPA."""

    at_s: float
    cause: str
    replicas: int


class Keda:
    """Scales a Deployment, which starts at zero, by its ScaledObject.

    `scale` gets each new number of replicas. `poll_s` and `sync_s` are the pauses of KEDA's loop and of the HPA's,
    which a test may shorten. `values` are the metrics that the HPA got, each with its time.
    """

    def __init__(
        self, scaled_object: dict[str, Any], scale: Callable[[int], None], poll_s: float, sync_s: float
    ) -> None:
        [trigger] = scaled_object["spec"]["triggers"]
        self.hpa = Hpa(scaled_object["spec"], replicas=0)
        self.changes: list[Change] = []
        self.values: list[tuple[float, float]] = []
        self.target = 0.0
        self.refusals: list[grpc.StatusCode] = []
        self._stopped = asyncio.Event()
        self._metadata: dict[str, str] = trigger["metadata"]
        self._scale, self._poll_s, self._sync_s = scale, poll_s, sync_s
        self._object = ScaledObjectRef(name="api-scaled", namespace="ml", scalerMetadata=self._metadata)

    @property
    def replicas(self) -> int:
        """The current number of replicas."""
        return self.hpa.replicas

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Scale until the block ends."""
        options = (("grpc.service_config", ROUND_ROBIN),)
        async with grpc.aio.insecure_channel(self._metadata["scalerAddress"], options) as channel:
            scaler: Any = ExternalScalerStub(channel)  # the stub has the types of blocking calls
            [spec] = (await scaler.GetMetricSpec(self._object, wait_for_ready=True)).metricSpecs
            self.target = spec.targetSizeFloat
            request = GetMetricsRequest(scaledObjectRef=self._object, metricName=spec.metricName)
            loops = (self._follow(scaler), self._poll(scaler, request), self._sync(scaler, request))
            tasks = [asyncio.create_task(loop) for loop in loops]
            try:
                yield
            finally:
                self._stopped.set()
                for task in tasks:
                    task.cancel()

    async def _follow(self, scaler: Any) -> None:
        """Keep a StreamIsActive open. After an error, wait longer each time."""
        retry_s = RETRY_S
        while True:
            try:
                async for pushed in scaler.StreamIsActive(self._object):
                    self._set("push", self.hpa.poll(_now_s(), active=pushed.result))
                retry_s = RETRY_S
            except grpc.aio.AioRpcError as error:
                self.refusals.append(error.code())
            await self._pause(retry_s)
            retry_s = min(2 * retry_s, RETRY_S_MAX)

    async def _poll(self, scaler: Any, request: GetMetricsRequest) -> None:
        while True:
            await self._pause(self._poll_s)
            try:
                await scaler.GetMetrics(request)
                active = (await scaler.IsActive(self._object)).result
            except grpc.aio.AioRpcError as error:
                self.refusals.append(error.code())
                continue
            self._set("poll", self.hpa.poll(_now_s(), active=active))

    async def _sync(self, scaler: Any, request: GetMetricsRequest) -> None:
        while True:
            await self._pause(self._sync_s)
            if not self.replicas:
                continue
            try:
                [metric] = (await scaler.GetMetrics(request)).metricValues
            except grpc.aio.AioRpcError as error:
                self.refusals.append(error.code())
                continue
            value = metric.metricValueFloat if metric.metricValueFloat > 0 else float(metric.metricValue)
            self.values.append((_now_s(), value))
            self._set("hpa", self.hpa.sync(_now_s(), value, self.target))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    def _set(self, cause: str, replicas: int) -> None:
        if replicas != (self.changes[-1].replicas if self.changes else 0):
            self.changes.append(Change(_now_s(), cause, replicas))
            self._scale(replicas)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
