"""The client for asyncio: performs the steps of `insula.client.flows` and awaits each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc

from insula.client import calls
from insula.client.flows import Done, Flow, Flows, Listen, Next, Pause, Read, Show, Step, Submit, WatchFlow, take
from insula.client.many import END, Converse, Fetch, ManyFlow, ManyFlows, Send, Take
from insula.client.mapping import IN_FLIGHT, Window, each, run_tasks
from insula.client.payloads import AsyncPayload
from insula.client.uploads import Upload
from insula.client.workload import Outcome, Submitted, Workload
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub

T = TypeVar("T")


class AsyncClient:
    """Submits workloads and reads them, over gRPC to the public URL of an Insula.

    Belongs to the event loop in which it is first used. Close it, or use it in an `async with` statement. Its methods
    do and raise the same as those of `insula.Client`. A payload, or the argument of `map`, may be an asynchronous
    iterable.
    """

    def __init__(self, url: str = "http://127.0.0.1:8080") -> None:
        self._target = calls.target_of(url)
        self._flows, self._many = Flows(url), ManyFlows(url)
        # Created at the first use: a channel belongs to the event loop that runs at its creation.
        self._open_channel: grpc.aio.Channel | None = None
        # A second connection, for streams to submit; insula.client.uploads explains why.
        self._open_threaded_channel: grpc.Channel | None = None

    async def submit(
        self, api: str, payload: AsyncPayload, *, content_type: str | None = None, idempotency_key: str | None = None
    ) -> str:
        """Submit `payload` and return the workload's id. `idempotency_key` allows retries: see Client.submit."""
        return await self._drive(self._flows.submit(api, payload, content_type, idempotency_key))

    async def get(self, api: str, id: str) -> Workload:
        """Return the workload's current state."""
        return await self._drive(self._flows.get(api, id))

    async def wait(self, api: str, id: str, timeout: float | None = None) -> Workload:  # noqa: ASYNC109 - as Client's
        """Return the workload once it has ended. Raises TimeoutError after `timeout` seconds; None means no limit."""
        return await self._drive(self._flows.wait(api, id, timeout))

    async def run(
        self,
        api: str,
        payload: AsyncPayload,
        *,
        content_type: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Submit `payload`, wait, and return the handler's dictionary. Raises WorkloadFailed if the workload fails."""
        return await self._drive(self._flows.run(api, payload, content_type, idempotency_key, timeout))

    async def watch(self, api: str, id: str, timeout: float | None = None) -> AsyncIterator[Workload]:  # noqa: ASYNC109
        """Yield the workload's current state, then its state after each change, up to its end. See Client.watch."""
        async for workload in self._shown(self._flows.watch(api, id, timeout)):
            yield workload

    async def submit_many(
        self,
        api: str,
        payloads: Iterable[AsyncPayload] | AsyncIterable[AsyncPayload],
        *,
        content_type: str | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncIterator[Submitted]:
        """Submit `payloads` in batches, and yield a Submitted for each, in their order. See Client.submit_many."""
        source = aiter(payloads if isinstance(payloads, AsyncIterable) else each(payloads))
        flow = self._many.submit_many(api, content_type, idempotency_key)
        async for submitted in self._shown(flow, lambda: anext(source, END)):
            yield submitted

    async def results(
        self,
        api: str,
        ids: Iterable[str],
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> AsyncIterator[Outcome]:
        """Yield an Outcome for each of `ids`, as the workloads end. See Client.results."""
        async for outcome in self._shown(self._many.results(api, ids, timeout)):
            yield outcome

    def map(
        self,
        api: str,
        payloads: Iterable[AsyncPayload] | AsyncIterable[AsyncPayload],
        *,
        in_flight: int = IN_FLIGHT,
        as_completed: bool = False,
        content_type: str | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Outcome]:
        """Submit each of `payloads` and yield an Outcome for each. See Client.map."""
        window = Window(in_flight, as_completed=as_completed)

        async def run(index: int, payload: AsyncPayload) -> Outcome:
            return await self._drive(self._flows.outcome(index, api, payload, content_type, timeout))

        return run_tasks(window, payloads, run)

    async def close(self) -> None:
        """Close the connection. Running calls end with an error."""
        if self._open_channel is not None:
            await self._open_channel.close()
        if self._open_threaded_channel is not None:
            self._open_threaded_channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _shown(
        self, flow: WatchFlow | ManyFlow[None], read: Callable[[], Awaitable[object]] | None = None
    ) -> AsyncIterator[Any]:
        """Perform a flow, and yield the value of each step `Show`. `read` returns the caller's next payload, or END."""
        try:
            step = take(flow)
            while not isinstance(step, Done):
                if isinstance(step, Show):
                    yield step.value
                    step = take(flow)
                elif isinstance(step, Take):
                    step = take(flow, await cast("Callable[[], Awaitable[object]]", read)())
                else:
                    step = take(flow, *await self._try(step))
        finally:
            flow.close()

    async def _drive(self, flow: Flow[T]) -> T:
        step = take(flow)
        while not isinstance(step, Done):
            step = take(flow, *await self._try(step))
        return step.value

    async def _try(self, step: Step | Listen | Next | Converse | Send | Fetch) -> tuple[object, Exception | None]:
        try:
            return await self._perform(step), None
        except Exception as error:  # noqa: BLE001 - the flow decides
            return None, error

    async def _perform(self, step: Step | Listen | Next | Converse | Send | Fetch) -> object:
        match step:
            case Pause():
                await asyncio.sleep(step.seconds)
                return None
            case Listen():
                return ResultsServiceStub(self._channel()).WatchWorkload(step.request, timeout=step.timeout_s)
            case Next():
                return await self._next(step.stream)
            case Converse() | Send() | Fetch():
                return self._perform_many(step)
            case Read():
                return await ResultsServiceStub(self._channel()).GetWorkload(step.request, timeout=step.timeout_s)
            case Submit():
                return await self._send(step)

    async def _next(self, stream: Any) -> object:
        if isinstance(stream, calls.Conversation):
            return await asyncio.to_thread(next, stream, None)
        message = await stream.read()
        return None if message is grpc.aio.EOF else message

    def _perform_many(self, step: Converse | Send | Fetch) -> object:
        match step:
            case Converse():
                return calls.Conversation(SubmitServiceStub(self._threaded_channel()))
            case Send():
                return step.stream.send(step.batch)
            case Fetch():
                return ResultsServiceStub(self._channel()).FetchWorkloads(step.request, timeout=step.timeout_s)

    async def _send(self, step: Submit) -> object:
        if step.outgoing.fits_one_message:
            request, stub = calls.submit_request(step.api, step.outgoing), SubmitServiceStub(self._channel())
            return await stub.SubmitWorkload(request, timeout=calls.ANSWER_TIMEOUT_S, metadata=step.metadata)
        loop = asyncio.get_running_loop()
        return await Upload(SubmitServiceStub(self._threaded_channel()), step, loop).wait_in(loop)

    def _threaded_channel(self) -> grpc.Channel:
        if self._open_threaded_channel is None:
            self._open_threaded_channel = calls.open_channel(self._target)
        return self._open_threaded_channel

    def _channel(self) -> grpc.aio.Channel:
        if self._open_channel is None:
            address, options = self._target.address, self._target.options
            self._open_channel = (
                grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(), options=options)
                if self._target.tls
                else grpc.aio.insecure_channel(address, options=options)
            )
        return self._open_channel
