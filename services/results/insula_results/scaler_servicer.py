"""ExternalScaler: reports the workloads of an API to KEDA, which scales the API's workers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

import grpc

from insula.errors import ApiNotFound, InvalidArgument, StoreUnavailable
from insula.externalscaler import externalscaler_pb2_grpc
from insula.externalscaler.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from insula.ledger.in_flight import InFlight, InFlightMeter
from insula.ledger.updates import Updates
from insula.project import ApiSpec
from insula.project.configuration.spec import Autoscaling
from insula.registry import RegistryCache

BEAT_S: Final = 1.0
"""Seconds between two measurements for a stream to KEDA. The average has one sample for each slot of time. A slot has
2 s or more (in_flight.py), so no slot is without a sample."""
API: Final = "api"
TARGET: Final = "target"


class ScalerServicer(externalscaler_pb2_grpc.ExternalScalerServicer):
    """Answers KEDA with counts from the ledger. Each method raises the errors of `_scaling` and `_measure`."""

    def __init__(self, apis: RegistryCache, meter: InFlightMeter, updates: Updates, stopping: asyncio.Event) -> None:
        """Once `stopping` is set, streams end with OK. After an error, KEDA would wait up to 60 s to reconnect."""
        self._apis = apis
        self._meter = meter
        self._updates = updates
        self._stopping = stopping

    async def IsActive(
        self, request: ScaledObjectRef, context: grpc.aio.ServicerContext[ScaledObjectRef, IsActiveResponse]
    ) -> IsActiveResponse:
        """Return whether workloads of the API wait or run."""
        return IsActiveResponse(result=(await self._measure(request)).now > 0)

    async def StreamIsActive(
        self, request: ScaledObjectRef, context: grpc.aio.ServicerContext[ScaledObjectRef, IsActiveResponse]
    ) -> AsyncIterator[IsActiveResponse]:
        """Stream whether workloads wait or run: now and at each change. A submit to an idle API is sent at once."""
        sent: bool | None = None
        async with self._updates.watch(_api(request)) as bell:
            while not self._stopping.is_set():
                bell.clear()
                active: bool | None = None
                with suppress(StoreUnavailable):  # the stream stays open, so that the next workload wakes the API
                    active = (await self._measure(request)).now > 0
                if active is not None and active != sent:
                    sent = active
                    yield IsActiveResponse(result=active)
                await _pause(bell, until_rung=active is False)

    async def GetMetricSpec(
        self, request: ScaledObjectRef, context: grpc.aio.ServicerContext[ScaledObjectRef, GetMetricSpecResponse]
    ) -> GetMetricSpecResponse:
        """Return the metric's name and its target.

        The target is the key `target` of the trigger's metadata, else the API's target_replica_concurrency.
        """
        scaling = await self._scaling(request)
        target = _target(request) or scaling.target
        return GetMetricSpecResponse(metricSpecs=[MetricSpec(metricName=_metric(request), targetSizeFloat=target)])

    async def GetMetrics(
        self, request: GetMetricsRequest, context: grpc.aio.ServicerContext[GetMetricsRequest, GetMetricsResponse]
    ) -> GetMetricsResponse:
        """Return the workloads in flight, averaged over the `window` of the API's autoscaling."""
        name = _metric(request.scaledObjectRef)
        if request.metricName not in {"", name}:
            raise InvalidArgument(f"metricName: must be {name!r}, as GetMetricSpec returns it")
        average = (await self._measure(request.scaledObjectRef)).average
        return GetMetricsResponse(metricValues=[MetricValue(metricName=name, metricValueFloat=average)])

    async def _measure(self, scaled_object: ScaledObjectRef) -> InFlight:
        """Return the workloads in flight of the API. Raises StoreUnavailable, and the errors of `_scaling`."""
        scaling = await self._scaling(scaled_object)
        return await self._meter.measure(_api(scaled_object), scaling.window)

    async def _scaling(self, scaled_object: ScaledObjectRef) -> Autoscaling:
        """Return `autoscaling` of the API's configuration.

        Raises ApiNotFound, also for a deleted API, and InvalidArgument if the metadata names no API.
        """
        registration = await self._apis.by_name(_api(scaled_object))
        if not registration.live:
            raise ApiNotFound(registration.name)
        return _parsed(registration.spec)


@lru_cache(maxsize=1024)
def _parsed(spec: str) -> Autoscaling:
    return ApiSpec.from_json(spec.encode()).autoscaling


async def _pause(bell: asyncio.Event, *, until_rung: bool) -> None:
    """Wait for BEAT_S. With `until_rung`, return earlier if `bell` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(BEAT_S):
            await (bell.wait() if until_rung else asyncio.sleep(2 * BEAT_S))


def _api(scaled_object: ScaledObjectRef) -> str:
    name = scaled_object.scalerMetadata.get(API, "")
    if not name:
        raise InvalidArgument(f'scalerMetadata: the key "{API}" is missing; set it in the metadata of the trigger')
    return name


def _metric(scaled_object: ScaledObjectRef) -> str:
    return f"insula-{_api(scaled_object)}"


def _target(scaled_object: ScaledObjectRef) -> float | None:
    """Return the value of the key `target` in the KEDA trigger's metadata; None if it is not set.

    This value replaces `target_replica_concurrency`. Raises InvalidArgument unless it is a number above 0.
    """
    text: Any = scaled_object.scalerMetadata.get(TARGET)
    if text is None:
        return None
    with suppress(ValueError):
        if math.isfinite(target := float(text)) and target > 0:
            return target
    raise InvalidArgument(f'scalerMetadata: "{TARGET}" must be a number greater than 0 (got {text[:100]!r})')
