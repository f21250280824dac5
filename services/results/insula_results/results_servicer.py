"""ResultsService: the gRPC service with which clients read workloads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from google.api.httpbody_pb2 import HttpBody

from insula.errors import NAME_CHARS_SHOWN, NotFound, WorkloadNotFound
from insula.ids import is_id
from insula.ledger import Workload, WorkloadLedger
from insula.ledger.updates import Updates
from insula.registry import RegistryCache
from insula.stores import tracebacks
from insula.stores.objects import ObjectStore
from insula.v1 import results_service_pb2_grpc
from insula.v1.results_service_pb2 import (
    DownloadWorkloadRequest,
    FetchWorkloadsRequest,
    FetchWorkloadsResponse,
    GetWorkloadRequest,
    GetWorkloadResponse,
    WatchWorkloadRequest,
    WatchWorkloadResponse,
)
from insula_results import rendering
from insula_results.fetching import Fetching, wait_s_of

FLUSH_BYTES: Final = 64 * 1024
"""A response up to this size is sent in one message, so that it costs as little as a unary call."""
RECHECK_S: Final = 15
"""Seconds without an update after which a watcher reads the record. Redis may have trimmed it from the stream."""


class ResultsServicer(results_service_pb2_grpc.ResultsServiceServicer):
    """Reads workloads from the ledger, and large results from S3."""

    def __init__(self, ledger: WorkloadLedger, objects: ObjectStore, apis: RegistryCache, updates: Updates) -> None:
        self._ledger = ledger
        self._objects = objects
        self._apis = apis
        self._updates = updates
        self._fetching = Fetching(ledger, objects, apis, updates)

    async def GetWorkload(
        self,
        request: GetWorkloadRequest,
        context: grpc.aio.ServicerContext[GetWorkloadRequest, GetWorkloadResponse],
    ) -> GetWorkloadResponse:
        """Return the workload's current state. With `wait`, return its state when it ends, or when `wait` is over."""
        wait_s = wait_s_of(request.wait)
        workload = await self._read(request.api, request.id)
        if wait_s and not workload.status.ended:
            workload = await self._wait(workload, wait_s)
        result_json = b"".join([chunk async for chunk in self._result(workload)])
        traceback = await self._traceback(workload, context)
        return GetWorkloadResponse(workload=rendering.message(workload, result_json, traceback))

    async def DownloadWorkload(
        self,
        request: DownloadWorkloadRequest,
        context: grpc.aio.ServicerContext[DownloadWorkloadRequest, HttpBody],
    ) -> AsyncIterator[HttpBody]:
        """Stream the workload as one JSON object. The bytes of its result are unchanged."""
        if request.api:
            workload = await self._read(request.api, request.id)
        else:
            endpoint, _, id = request.path.rpartition("/")
            if not endpoint:
                raise NotFound(
                    f"no workload is named: GET /{id[:NAME_CHARS_SHOWN] or '<endpoint>'}/<id>; POST makes an id"
                )
            api = await self._apis.by_endpoint(endpoint)
            workload = await self._read(api.name, id)
        piece, tail = rendering.json_frame(workload, await self._traceback(workload, context))
        content_type = "application/json"  # it is the type of the whole body, so only the first message has it
        async for chunk in self._result(workload):
            piece += chunk
            if len(piece) > FLUSH_BYTES:
                yield HttpBody(content_type=content_type, data=piece)
                piece, content_type = b"", ""
        yield HttpBody(content_type=content_type, data=piece + tail)

    async def WatchWorkload(
        self,
        request: WatchWorkloadRequest,
        context: grpc.aio.ServicerContext[WatchWorkloadRequest, WatchWorkloadResponse],
    ) -> AsyncIterator[WatchWorkloadResponse]:
        """Stream the workload's current state, then its state after each change, until it ends."""
        workload = await self._read(request.api, request.id)
        async for changed in self._follow(workload):
            yield WatchWorkloadResponse(workload=rendering.message(changed))

    async def FetchWorkloads(
        self,
        request: FetchWorkloadsRequest,
        context: grpc.aio.ServicerContext[FetchWorkloadsRequest, FetchWorkloadsResponse],
    ) -> AsyncIterator[FetchWorkloadsResponse]:
        """Stream many workloads: each when it has ended, and the others in their state when `wait` is over."""
        async for message in self._fetching.fetch(request):
            yield message

    async def _read(self, api: str, id: str) -> Workload:
        """Return the workload's record. Raises ApiNotFound or WorkloadNotFound."""
        registration = await self._apis.by_name(api)
        workload = await self._ledger.read(registration.name, id) if is_id(id) else None
        if workload is None:
            raise WorkloadNotFound(registration.name, id)
        return workload

    async def _follow(self, workload: Workload) -> AsyncIterator[Workload]:
        """Yield the workload's current state, then its state after each change of status or attempt, up to its end."""
        shown: tuple[Any, ...] = ()
        async with self._updates.watch(workload.api, workload.id) as bell:
            while True:
                bell.clear()
                workload = await self._read(workload.api, workload.id)
                if (workload.status, workload.attempt) != shown:
                    shown = (workload.status, workload.attempt)
                    yield workload
                if workload.status.ended:
                    return
                try:
                    async with asyncio.timeout(RECHECK_S):
                        await bell.wait()
                except TimeoutError:
                    continue

    async def _wait(self, workload: Workload, wait_s: float) -> Workload:
        """Return the workload when it ends, or its state after `wait_s`."""
        latest = workload
        try:
            async with asyncio.timeout(wait_s):
                async for changed in self._follow(workload):
                    latest = changed
        except TimeoutError:
            return await self._read(workload.api, workload.id)
        return latest

    async def _traceback(self, workload: Workload, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        """Return the traceback of a failed workload; empty unless the call's metadata requests it."""
        if not tracebacks.is_asked_for(context.invocation_metadata()):
            return ""
        return await tracebacks.read(self._objects, workload.failure)

    async def _result(self, workload: Workload) -> AsyncIterator[bytes]:
        if workload.result is None:
            return
        if workload.result.object is None:
            yield workload.result.inline or b""
            return
        async for chunk in self._objects.read(workload.result.object):
            yield chunk
