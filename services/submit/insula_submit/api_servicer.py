"""ApiService: deploys, describes and deletes APIs. It is the only way to deploy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from insula.bundles import Bundles
from insula.errors import ApiNotFound, InvalidArgument, ProjectInvalid, WorkloadNotFound
from insula.ids import is_id
from insula.ledger import WorkloadLedger
from insula.phase import ApiState, Phase
from insula.project import handler_source
from insula.project.bundle import BUNDLE_BYTES_MAX
from insula.project.configuration.spec import ApiSpec
from insula.project.extraction import extract
from insula.registry import Registration, Registry, version_of
from insula.stores import tracebacks
from insula.stores.objects import ObjectStore
from insula.v1 import api_service_pb2_grpc
from insula.v1.api_service_pb2 import (
    Api,
    DeleteApiRequest,
    DeleteApiResponse,
    DeployApiRequest,
    DeployApiResponse,
    GetApiRequest,
    GetApiResponse,
    GetTracebackRequest,
    GetTracebackResponse,
    ListApisRequest,
    ListApisResponse,
    RefreshApiRequest,
    RefreshApiResponse,
    WorkloadCounts,
)
from insula.v1.worker_service_pb2 import Worker

log = logging.getLogger(__name__)


class ApiServicer(api_service_pb2_grpc.ApiServiceServicer):
    """Deploys, refreshes, describes and deletes APIs, and returns the tracebacks of workloads."""

    def __init__(self, registry: Registry, ledger: WorkloadLedger, bundles: Bundles, objects: ObjectStore) -> None:
        self._registry = registry
        self._ledger = ledger
        self._bundles = bundles
        self._objects = objects

    async def DeployApi(
        self,
        request_iterator: AsyncIterator[DeployApiRequest],
        context: grpc.aio.ServicerContext[DeployApiRequest, DeployApiResponse],
    ) -> DeployApiResponse:
        """Check the bundle, store it, then register the API, in this order: a registered API always has its bundle."""
        spec_json, archive = await _receive(request_iterator)
        spec = ApiSpec.from_json(spec_json)
        await asyncio.to_thread(_check_bundle, spec, archive)
        canonical = spec.to_json()
        version = version_of(canonical, archive)
        await self._bundles.store(version, archive)
        await self._ledger.open(spec.name)
        registration = await self._registry.deploy(
            spec.name, spec.networking.endpoint, version, canonical.decode(), spec.queue_limit
        )
        await self._ledger.reopen(spec.name)
        # `insula up` starts the worker of a new API when it reads this line.
        log.info("api deployed", extra={"api": spec.name, "version": version, "endpoint": registration.endpoint})
        return DeployApiResponse(api=await self._describe(registration))

    async def DeleteApi(
        self, request: DeleteApiRequest, context: grpc.aio.ServicerContext[DeleteApiRequest, DeleteApiResponse]
    ) -> DeleteApiResponse:
        """Refuse new workloads, then cancel the waiting ones. Workers finish the running ones.

        Safe to repeat after an error. Raises ApiNotFound if the API is deleted already.
        """
        await self._find(request.name)
        cancelled = await self._ledger.close(request.name)
        await self._registry.delete(request.name)
        return DeleteApiResponse(cancelled=cancelled)

    async def RefreshApi(
        self, request: RefreshApiRequest, context: grpc.aio.ServicerContext[RefreshApiRequest, RefreshApiResponse]
    ) -> RefreshApiResponse:
        """Make the workers of an API replace their handler processes. Returns before this is done."""
        return RefreshApiResponse(api=await self._describe(await self._registry.refresh(request.name)))

    async def GetApi(
        self, request: GetApiRequest, context: grpc.aio.ServicerContext[GetApiRequest, GetApiResponse]
    ) -> GetApiResponse:
        """Describe one API."""
        return GetApiResponse(api=await self._describe(await self._find(request.name)))

    async def GetTraceback(
        self,
        request: GetTracebackRequest,
        context: grpc.aio.ServicerContext[GetTracebackRequest, GetTracebackResponse],
    ) -> GetTracebackResponse:
        """Return the traceback of a failed workload. This works after its API was deleted, until the retention ends."""
        if await self._registry.find(request.api) is None:
            raise ApiNotFound(request.api)
        workload = await self._ledger.read(request.api, request.id) if is_id(request.id) else None
        if workload is None:
            raise WorkloadNotFound(request.api, request.id)
        return GetTracebackResponse(traceback=await tracebacks.read(self._objects, workload.failure))

    async def ListApis(
        self, request: ListApisRequest, context: grpc.aio.ServicerContext[ListApisRequest, ListApisResponse]
    ) -> ListApisResponse:
        """Describe all APIs, sorted by name."""
        apis = await self._registry.all()
        live = (apis[name] for name in sorted(apis) if apis[name].live)
        return ListApisResponse(apis=[await self._describe(api) for api in live])

    async def _find(self, name: str) -> Registration:
        found = await self._registry.find(name)
        if found is None or not found.live:
            raise ApiNotFound(name)
        return found

    async def _describe(self, registration: Registration) -> Api:
        workers, counts = await asyncio.gather(
            self._registry.workers(registration.name), self._ledger.counts(registration.name)
        )
        state, reason = _state([worker for worker in workers if worker.version == registration.version])
        return Api(
            name=registration.name,
            endpoint=registration.endpoint,
            version=registration.version,
            # A worker's report may arrive before or after it promotes the version in the registry.
            active_version=registration.version if state is ApiState.READY else registration.active_version,
            state=state,
            reason=reason,
            create_time=_timestamp(registration.created_ms),
            update_time=_timestamp(registration.updated_ms),
            workers=workers,
            spec_json=registration.spec.encode(),
            generation=registration.generation,
            workloads=WorkloadCounts(**counts),
        )


def _state(workers: list[Worker]) -> tuple[ApiState, str]:
    """Return the state of a version and, if it is failing, the reason. `workers` are the reports of its workers."""
    if any(worker.phase == Phase.READY for worker in workers):
        return ApiState.READY, ""
    failing = next((worker for worker in workers if worker.phase == Phase.FAILING), None)
    return (ApiState.FAILING, failing.reason) if failing else (ApiState.PENDING, "")


async def _receive(messages: AsyncIterator[DeployApiRequest]) -> tuple[bytes, bytes]:
    spec_json, archive = b"", bytearray()
    async for message in messages:
        spec_json = spec_json or message.spec_json
        archive += message.bundle
        if len(archive) > BUNDLE_BYTES_MAX:
            raise InvalidArgument(f"bundle: must be at most {BUNDLE_BYTES_MAX} bytes")
    if not spec_json:
        raise InvalidArgument("spec_json: must be set in the first message")
    return spec_json, bytes(archive)


def _check_bundle(spec: ApiSpec, archive: bytes) -> None:
    """Raise ProjectInvalid for a bundle that no worker could start. Only Insula's own client checks it before."""
    with TemporaryDirectory(prefix="insula-") as folder:
        project = Path(folder) / "project"
        extract(archive, project)
        handler = project / spec.handler.path
        if not handler.is_file():
            raise ProjectInvalid(f"{spec.name}: handler: path: {spec.handler.path}: is not in the bundle")
        handler_source.check(handler.read_bytes(), spec.handler.path, spec.handler.type)


def _timestamp(ms: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMilliseconds(ms)
    return stamp
