# ruff: noqa: N802, ARG002 - the methods' names and arguments are those of the contract
"""A real gRPC server in this process. Its servicers return what the test has set."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import cast

import grpc
from google.api.httpbody_pb2 import HttpBody

from insula.errors import InsulaError
from insula.rpc.server import MESSAGE_BYTES_MAX
from insula.rpc.statuses import ErrorInterceptor, status_of
from insula.v1 import results_service_pb2_grpc, submit_service_pb2_grpc
from insula.v1.results_service_pb2 import (
    DownloadWorkloadRequest,
    FetchWorkloadsRequest,
    FetchWorkloadsResponse,
    GetWorkloadRequest,
    GetWorkloadResponse,
    WatchWorkloadRequest,
    WatchWorkloadResponse,
)
from insula.v1.submit_service_pb2 import (
    Refusal,
    SubmitWorkloadRequest,
    SubmitWorkloadResponse,
    SubmitWorkloadsRequest,
    SubmitWorkloadsResponse,
    UploadWorkloadRequest,
    UploadWorkloadResponse,
    UploadWorkloadsRequest,
)
from insula.v1.workload_pb2 import Failure, Workload
from tests.waiting import until

Answer = Workload | InsulaError | grpc.StatusCode


@dataclass
class Script:
    """The server's replies, and the requests that it got."""

    id: str = "id-1"
    refusal: InsulaError | grpc.StatusCode | None = None
    refuse_uploads_at_once: bool = False
    answers: list[Answer] = field(default_factory=list[Answer])
    submitted: list[tuple[str, str, bytes]] = field(default_factory=list[tuple[str, str, bytes]])
    pieces: list[int] = field(default_factory=list[int])
    asked: list[tuple[str, str, float]] = field(default_factory=list[tuple[str, str, float]])
    submits: int = 0
    # The replies of this many submits are lost, before or after the workload was accepted.
    lost_answers: int = 0
    lost_before: bool = False
    lost_as: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    # The first submits are refused with these errors.
    refusals: list[InsulaError] = field(default_factory=list[InsulaError])
    # SubmitWorkloads: the batches, the next answers to a payload, and the ids by key and number.
    batches: list[SubmitWorkloadsRequest] = field(default_factory=list[SubmitWorkloadsRequest])
    payload_errors: dict[bytes, list[InsulaError]] = field(default_factory=dict[bytes, "list[InsulaError]"])
    by_key: dict[str, str] = field(default_factory=dict[str, str])
    # FetchWorkloads: the requests, and for each the answers; without, workloads as `echo` has them.
    fetches: list[FetchWorkloadsRequest] = field(default_factory=list[FetchWorkloadsRequest])
    fetched: list[Sequence[FetchWorkloadsResponse | Answer]] = field(
        default_factory=list["Sequence[FetchWorkloadsResponse | Answer]"]
    )
    keys: list[str] = field(default_factory=list[str])
    # For each watch its messages, and its end.
    watches: list[Sequence[Answer]] = field(default_factory=list[Sequence[Answer]])
    # Each submit is a new workload. A workload ends, with its payload as result, once `may_end` has its number.
    echo: bool = False
    may_end: Callable[[int], bool] = lambda _: True
    # There is no reply to a complete upload until the client cancels it.
    hold_uploads: bool = False
    upload_began: threading.Event = field(default_factory=threading.Event)
    given_up: threading.Event = field(default_factory=threading.Event)


class _Submit(submit_service_pb2_grpc.SubmitServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def SubmitWorkload(
        self,
        request: SubmitWorkloadRequest,
        context: grpc.aio.ServicerContext[SubmitWorkloadRequest, SubmitWorkloadResponse],
    ) -> SubmitWorkloadResponse:
        script = self._script
        script.submits += 1
        script.keys += [str(value) for name, value in context.invocation_metadata() or () if name == "idempotency-key"]
        await _refuse(script.refusals.pop(0) if script.refusals else script.refusal, context)
        lost, script.lost_answers = script.lost_answers > 0, max(0, script.lost_answers - 1)
        if not (lost and script.lost_before):
            script.submitted.append((request.api, request.content_type, request.payload))
        if lost:
            await _refuse(script.lost_as, context)
        return SubmitWorkloadResponse(id=str(len(script.submitted) - 1) if script.echo else script.id)

    async def UploadWorkload(
        self,
        request_iterator: AsyncIterator[UploadWorkloadRequest],
        context: grpc.aio.ServicerContext[UploadWorkloadRequest, UploadWorkloadResponse],
    ) -> UploadWorkloadResponse:
        self._script.submits += 1
        self._script.keys += [
            str(value) for name, value in context.invocation_metadata() or () if name == "idempotency-key"
        ]
        self._script.upload_began.set()
        try:
            if self._script.refuse_uploads_at_once:
                await _refuse(self._script.refusal, context)
            messages = [message async for message in request_iterator]
            if self._script.refusals:
                raise self._script.refusals.pop(0)
            if self._script.hold_uploads:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self._script.given_up.set()
            raise
        self._script.pieces = [len(message.payload.data) for message in messages]
        first = messages[0]
        assert all(not message.api and not message.payload.content_type for message in messages[1:])
        body = b"".join(message.payload.data for message in messages)
        self._script.submitted.append((first.api, first.payload.content_type, body))
        number = len(self._script.submitted) - 1
        return UploadWorkloadResponse(id=str(number) if self._script.echo else self._script.id)

    async def SubmitWorkloads(
        self,
        request_iterator: AsyncIterator[SubmitWorkloadsRequest],
        context: grpc.aio.ServicerContext[SubmitWorkloadsRequest, SubmitWorkloadsResponse],
    ) -> AsyncIterator[SubmitWorkloadsResponse]:
        script = self._script
        async for request in request_iterator:
            script.submits += 1
            script.batches.append(request)
            await _refuse(script.refusals.pop(0) if script.refusals else script.refusal, context)
            lost, script.lost_answers = script.lost_answers > 0, max(0, script.lost_answers - 1)
            answers = [self._accept(request, place) for place in range(len(request.payloads))]
            if lost:
                await _refuse(script.lost_as, context)
            yield SubmitWorkloadsResponse(
                ids=[answer if isinstance(answer, str) else "" for answer in answers],
                refusals=[
                    Refusal(index=place, error=status_of(answer))
                    for place, answer in enumerate(answers)
                    if not isinstance(answer, str)
                ],
            )

    def _accept(self, request: SubmitWorkloadsRequest, place: int) -> str | InsulaError:
        """Return an id, the same for the same key and number, or the error that the script has for the payload."""
        script, payload = self._script, request.payloads[place]
        if script.payload_errors.get(payload):
            return script.payload_errors[payload].pop(0)
        name = f"{request.idempotency_key}/{request.first_number + place}"
        if request.idempotency_key and name in script.by_key:
            return script.by_key[name]
        script.submitted.append((request.api, request.content_type, payload))
        script.by_key[name] = str(len(script.submitted) - 1)
        return script.by_key[name]

    async def UploadWorkloads(
        self,
        request_iterator: AsyncIterator[UploadWorkloadsRequest],
        context: grpc.aio.ServicerContext[UploadWorkloadsRequest, HttpBody],
    ) -> AsyncIterator[HttpBody]:
        raise AssertionError("the clients submit batches with the typed call")
        yield


class _Results(results_service_pb2_grpc.ResultsServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def GetWorkload(
        self,
        request: GetWorkloadRequest,
        context: grpc.aio.ServicerContext[GetWorkloadRequest, GetWorkloadResponse],
    ) -> GetWorkloadResponse:
        wait_s = request.wait.ToTimedelta().total_seconds()
        self._script.asked.append((request.api, request.id, wait_s))
        if self._script.echo:
            return GetWorkloadResponse(workload=await self._echo(int(request.id), wait_s))
        answers = self._script.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if not isinstance(answer, Workload):
            await _refuse(answer, context)
        return GetWorkloadResponse(workload=cast("Workload", answer))

    async def _echo(self, number: int, wait_s: float) -> Workload:
        try:
            async with asyncio.timeout(wait_s):
                await until(lambda: self._script.may_end(number))
        except TimeoutError:
            return Workload(id=str(number), api="a", status="in_progress")
        result = self._script.submitted[number][2]
        if result.startswith(b'"'):  # the handler does not accept texts
            failure = Failure(reason="HANDLER_ERROR", message="no text")
            return Workload(id=str(number), api="a", status="failed", failure=failure)
        return Workload(id=str(number), api="a", status="completed", result_json=result)

    async def DownloadWorkload(
        self,
        request: DownloadWorkloadRequest,
        context: grpc.aio.ServicerContext[DownloadWorkloadRequest, HttpBody],
    ) -> AsyncIterator[HttpBody]:
        raise AssertionError("the clients read workloads with the typed call")
        yield

    async def FetchWorkloads(
        self,
        request: FetchWorkloadsRequest,
        context: grpc.aio.ServicerContext[FetchWorkloadsRequest, FetchWorkloadsResponse],
    ) -> AsyncIterator[FetchWorkloadsResponse]:
        script = self._script
        script.fetches.append(request)
        if not script.fetched:
            wait_s = request.wait.ToTimedelta().total_seconds()
            for id in request.ids:
                yield FetchWorkloadsResponse(workloads=[await self._echo(int(id), wait_s)])
            return
        for answer in script.fetched.pop(0):
            if not isinstance(answer, FetchWorkloadsResponse):
                await _refuse(cast("InsulaError | grpc.StatusCode", answer), context)
            yield cast("FetchWorkloadsResponse", answer)

    async def WatchWorkload(
        self,
        request: WatchWorkloadRequest,
        context: grpc.aio.ServicerContext[WatchWorkloadRequest, WatchWorkloadResponse],
    ) -> AsyncIterator[WatchWorkloadResponse]:
        for answer in self._script.watches.pop(0):
            if not isinstance(answer, Workload):
                await _refuse(answer, context)
            yield WatchWorkloadResponse(workload=cast("Workload", answer))


async def _refuse(
    refusal: InsulaError | grpc.StatusCode | None, context: grpc.aio.ServicerContext[object, object] | object
) -> None:
    if isinstance(refusal, InsulaError):
        raise refusal
    if refusal is not None:
        await cast("grpc.aio.ServicerContext[object, object]", context).abort(refusal, "not one of ours")


@asynccontextmanager
async def serving(script: Script) -> AsyncGenerator[str]:
    """Serve `script` in this event loop, and yield the URL."""
    limit = ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=[limit])
    submit_service_pb2_grpc.add_SubmitServiceServicer_to_server(_Submit(script), server)
    results_service_pb2_grpc.add_ResultsServiceServicer_to_server(_Results(script), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)


@contextmanager
def serving_on_a_thread(script: Script) -> Generator[str]:
    """Serve `script` on another thread, for tests that block, and yield the URL."""
    started, urls = threading.Event(), list[str]()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        done, loop = asyncio.Event(), asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(done.set))
        async with serving(script) as url:
            urls.append(url)
            started.set()
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield urls[0]
    finally:
        stop[0]()
        thread.join(10)
