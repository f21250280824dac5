# ruff: noqa: N802, ARG002 - the contract fixes the names and parameters of methods
"""Real gRPC servers in place of submit and results. They record each call and give the scripted answer."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar, cast

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from grpc.aio import ServicerContext
from grpc_reflection.v1alpha import reflection

from insula.rpc.http1 import HttpServer
from insula.rpc.statuses import ErrorInterceptor
from insula.v1.results_service_pb2 import (
    DownloadWorkloadRequest,
    FetchWorkloadsRequest,
    FetchWorkloadsResponse,
    GetWorkloadRequest,
    GetWorkloadResponse,
    WatchWorkloadRequest,
    WatchWorkloadResponse,
)
from insula.v1.results_service_pb2_grpc import ResultsServiceServicer, add_ResultsServiceServicer_to_server
from insula.v1.submit_service_pb2 import (
    SubmitWorkloadRequest,
    SubmitWorkloadResponse,
    SubmitWorkloadsRequest,
    SubmitWorkloadsResponse,
    UploadWorkloadRequest,
    UploadWorkloadResponse,
    UploadWorkloadsRequest,
)
from insula.v1.submit_service_pb2_grpc import SubmitServiceServicer, add_SubmitServiceServicer_to_server
from insula.v1.workload_pb2 import Workload

WORKLOAD_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True)
class Refusal:
    """An error of a service: the code, google.rpc details, and the trailer retry-after."""

    code: grpc.StatusCode
    message: str
    details: tuple[Message, ...] = ()
    retry_after: str | None = None

    async def raise_in(self, context: ServicerContext[Request, Response]) -> None:
        trailers: list[tuple[str, str | bytes]] = []
        if self.retry_after is not None:
            trailers.append(("retry-after", self.retry_after))
        if self.details:
            status = Status(code=self.code.value[0], message=self.message)
            for detail in self.details:
                status.details.add().Pack(detail)
            trailers.append(("grpc-status-details-bin", status.SerializeToString()))
        await context.abort(self.code, self.message, tuple(trailers))


@dataclass
class Upload:
    """One call of UploadWorkload as it arrived."""

    first: UploadWorkloadRequest
    metadata: dict[str, str | bytes]
    messages: int = 0
    payload_bytes: int = 0
    sha256: str = ""


def metadata_of(context: ServicerContext[Request, Response]) -> dict[str, str | bytes]:
    return dict(context.invocation_metadata() or ())


@dataclass
class ScriptedSubmit(SubmitServiceServicer):
    """Accepts each submit with WORKLOAD_ID, unless a refusal is set or an upload has no content type."""

    refusal: Refusal | None = None
    held: asyncio.Event | None = None
    uploads: list[Upload] = field(default_factory=list[Upload])
    batches: list[UploadWorkloadsRequest] = field(default_factory=list[UploadWorkloadsRequest])
    submits: list[SubmitWorkloadRequest] = field(default_factory=list[SubmitWorkloadRequest])

    async def SubmitWorkload(
        self, request: SubmitWorkloadRequest, context: ServicerContext[SubmitWorkloadRequest, SubmitWorkloadResponse]
    ) -> SubmitWorkloadResponse:
        self.submits.append(request)
        if self.refusal:
            await self.refusal.raise_in(context)
        return SubmitWorkloadResponse(id=WORKLOAD_ID)

    async def UploadWorkload(
        self,
        request_iterator: AsyncIterator[UploadWorkloadRequest],
        context: ServicerContext[UploadWorkloadRequest, UploadWorkloadResponse],
    ) -> UploadWorkloadResponse:
        upload: Upload | None = None
        digest = hashlib.sha256()
        async for message in request_iterator:
            if upload is None:
                upload = Upload(message, metadata_of(context))
                self.uploads.append(upload)
                if self.held:
                    await self.held.wait()
            upload.messages += 1
            upload.payload_bytes += len(message.payload.data)
            digest.update(message.payload.data)
        assert upload is not None, "the edge sends one message even for an empty body"
        upload.sha256 = digest.hexdigest()
        if not upload.first.payload.content_type:
            await Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the Content-Type header is missing").raise_in(context)
        if self.refusal:
            await self.refusal.raise_in(context)
        return UploadWorkloadResponse(id=WORKLOAD_ID)

    async def SubmitWorkloads(
        self,
        request_iterator: AsyncIterator[SubmitWorkloadsRequest],
        context: ServicerContext[SubmitWorkloadsRequest, SubmitWorkloadsResponse],
    ) -> AsyncIterator[SubmitWorkloadsResponse]:
        async for message in request_iterator:
            yield SubmitWorkloadsResponse(ids=[WORKLOAD_ID] * len(message.payloads))

    async def UploadWorkloads(
        self,
        request_iterator: AsyncIterator[UploadWorkloadsRequest],
        context: ServicerContext[UploadWorkloadsRequest, HttpBody],
    ) -> AsyncIterator[HttpBody]:
        async for message in request_iterator:
            self.batches.append(message)
            yield HttpBody(content_type="application/x-ndjson", data=message.payload.data)


@dataclass
class ScriptedResults(ResultsServiceServicer):
    """Answers each download with `pieces`, unless a refusal is set."""

    refusal: Refusal | None = None
    held: asyncio.Event | None = None
    pieces: list[bytes] = field(default_factory=lambda: [b'{"id":"1","status":"in_queue"}'])
    downloads: list[DownloadWorkloadRequest] = field(default_factory=list[DownloadWorkloadRequest])
    metadata: dict[str, str | bytes] = field(default_factory=dict[str, "str | bytes"])

    async def GetWorkload(
        self, request: GetWorkloadRequest, context: ServicerContext[GetWorkloadRequest, GetWorkloadResponse]
    ) -> GetWorkloadResponse:
        self.metadata = metadata_of(context)
        if self.refusal:
            await self.refusal.raise_in(context)
        return GetWorkloadResponse(workload=Workload(id=request.id, api=request.api, status="completed"))

    async def DownloadWorkload(
        self, request: DownloadWorkloadRequest, context: ServicerContext[DownloadWorkloadRequest, HttpBody]
    ) -> AsyncIterator[HttpBody]:
        self.downloads.append(request)
        self.metadata = metadata_of(context)
        if self.held:
            await self.held.wait()
        if self.refusal:
            await self.refusal.raise_in(context)
        for index, piece in enumerate(self.pieces):
            yield HttpBody(content_type="" if index else "application/json", data=piece)

    async def FetchWorkloads(
        self, request: FetchWorkloadsRequest, context: ServicerContext[FetchWorkloadsRequest, FetchWorkloadsResponse]
    ) -> AsyncIterator[FetchWorkloadsResponse]:
        yield FetchWorkloadsResponse(workloads=[Workload(id=id, api=request.api) for id in request.ids])

    async def WatchWorkload(
        self, request: WatchWorkloadRequest, context: ServicerContext[WatchWorkloadRequest, WatchWorkloadResponse]
    ) -> AsyncIterator[WatchWorkloadResponse]:
        for status in ("in_queue", "completed"):
            yield WatchWorkloadResponse(workload=Workload(id=request.id, api=request.api, status=status))


class AnswersEverything(grpc.GenericRpcHandler):
    """Implements all methods of all other services, so that UNIMPLEMENTED can only come from the edge."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def answer(request: bytes, context: ServicerContext[bytes, bytes]) -> bytes:
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@dataclass
class ScriptedServer:
    """One gRPC server that can stop and start again on the same port."""

    run: Callable[[Coroutine[None, None, None]], None]
    register: Callable[[grpc.aio.Server], None]
    port: int = 0
    http_socket: Path = field(default_factory=lambda: Path(mkdtemp(), "http.sock"))
    server: grpc.aio.Server | None = None
    http: HttpServer | None = None

    def start(self) -> None:
        self.run(self._start())

    def stop(self, grace_s: float = 0) -> None:
        self.run(self._stop(grace_s))

    async def _start(self) -> None:
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 8 << 20)]
        self.server = grpc.aio.server(options=[*options, ("grpc.http2.hpack_table_size.decoder", 0)])
        self.register(self.server)
        self.server.add_generic_rpc_handlers((AnswersEverything(),))
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self.server.start()
        self.http = HttpServer(self.http_socket, ErrorInterceptor().wrapped)
        self.register(cast("grpc.aio.Server", self.http))
        await self.http.start()

    async def _stop(self, grace_s: float) -> None:
        assert self.server is not None
        assert self.http is not None
        await asyncio.gather(self.server.stop(grace_s), self.http.stop(grace_s))


class ScriptedServices:
    """The services submit and results. Their event loop has its own thread, so that tests may block."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.submit = ScriptedSubmit()
        self.results = ScriptedResults()
        self.submit_server = ScriptedServer(self._run, self._register_submit)
        self.results_server = ScriptedServer(self._run, self._register_results)

    def start(self) -> None:
        self.thread.start()
        self.submit_server.start()
        self.results_server.start()

    def stop(self) -> None:
        self.submit_server.stop()
        self.results_server.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def reset(self) -> None:
        """Forget the recorded calls and the scripted answers."""
        vars(self.submit).update(vars(ScriptedSubmit()))
        vars(self.results).update(vars(ScriptedResults()))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=60)

    def _register_submit(self, server: grpc.aio.Server) -> None:
        add_SubmitServiceServicer_to_server(self.submit, server)

    def _register_results(self, server: grpc.aio.Server) -> None:
        add_ResultsServiceServicer_to_server(self.results, server)
        reflection.enable_server_reflection(["insula.v1.ResultsService", reflection.SERVICE_NAME], server)
