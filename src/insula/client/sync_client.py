"""The client for code without asyncio: performs the steps of `insula.client.flows` and waits for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from insula.client import calls
from insula.client.flows import Done, Flow, Flows, Listen, Next, Pause, Read, Show, Step, Submit, WatchFlow, take
from insula.client.many import END, Converse, Fetch, ManyFlow, ManyFlows, Send, Take
from insula.client.mapping import IN_FLIGHT, InFlight, Pending, Window
from insula.client.payloads import Payload
from insula.client.uploads import Upload
from insula.client.workload import Outcome, Submitted, Workload
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub

T = TypeVar("T")


class Client:
    """Submits workloads and reads them, over gRPC to the public URL of an Insula.

    Safe to share between threads. Close it, or use it in a `with` statement. Every method raises the classes of
    `insula.errors`, Unreachable if nothing answers, TimeoutError, and CallFailed for any other gRPC status.
    """

    def __init__(self, url: str = "http://127.0.0.1:8080") -> None:
        self._flows, self._many = Flows(url), ManyFlows(url)
        self._channel = calls.open_channel(calls.target_of(url))
        self._submit = SubmitServiceStub(self._channel)
        self._results = ResultsServiceStub(self._channel)

    def submit(
        self, api: str, payload: Payload, *, content_type: str | None = None, idempotency_key: str | None = None
    ) -> str:
        """Submit `payload` and return the workload's id. The workload is then on disk.

        With an `idempotency_key`, submits of the same payload within 24 hours are one workload. If the reply is lost,
        the submit is retried for up to a minute, but not if the payload is a file or an iterable. Without a key, a
        submit is never sent twice: after Unreachable or TimeoutError it is unknown whether it was accepted.
        """
        return self._drive(self._flows.submit(api, payload, content_type, idempotency_key))

    def get(self, api: str, id: str) -> Workload:
        """Return the workload's current state."""
        return self._drive(self._flows.get(api, id))

    def wait(self, api: str, id: str, timeout: float | None = None) -> Workload:
        """Return the workload once it has ended. Raises TimeoutError after `timeout` seconds; None means no limit."""
        return self._drive(self._flows.wait(api, id, timeout))

    def run(
        self,
        api: str,
        payload: Payload,
        *,
        content_type: str | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Submit `payload`, wait, and return the handler's dictionary. Raises WorkloadFailed if the workload fails."""
        return self._drive(self._flows.run(api, payload, content_type, idempotency_key, timeout))

    def watch(self, api: str, id: str, timeout: float | None = None) -> Iterator[Workload]:
        """Yield the workload's current state, then its state after each change of status or attempt, up to its end.

        If two changes follow each other closely, the first may be skipped. Reconnects when the connection breaks.
        Raises TimeoutError after `timeout` seconds; None means no limit.
        """
        return self._shown(self._flows.watch(api, id, timeout))

    def submit_many(
        self,
        api: str,
        payloads: Iterable[Payload],
        *,
        content_type: str | None = None,
        idempotency_key: str | None = None,
    ) -> Iterator[Submitted]:
        """Submit `payloads` in batches, and yield a Submitted for each, in their order.

        When a Submitted with an id is yielded, its workload is on disk. `payloads` may be endless: a few batches are
        read ahead. If a payload is refused, for example because the queue is full, its Submitted has an `error`, and
        the others continue. With an `idempotency_key`, a repeated call within 24 hours gives the nth payload the same
        workload, and lost batches are sent again for up to a minute. Without a key, no batch is sent twice: after
        Unreachable it is unknown which of the payloads without an answer were accepted.
        """
        source = iter(payloads)
        return self._shown(self._many.submit_many(api, content_type, idempotency_key), lambda: next(source, END))

    def results(self, api: str, ids: Iterable[str], timeout: float | None = None) -> Iterator[Outcome]:
        """Yield an Outcome for each of `ids`, as the workloads end.

        After `timeout` seconds, the outcomes of workloads that have not ended have a TimeoutError; None means no limit.
        The outcome of an unknown id has a WorkloadNotFound.
        """
        return self._shown(self._many.results(api, ids, timeout))

    def map(
        self,
        api: str,
        payloads: Iterable[Payload],
        *,
        in_flight: int = IN_FLIGHT,
        as_completed: bool = False,
        content_type: str | None = None,
        timeout: float | None = None,
    ) -> Iterator[Outcome]:
        """Submit each of `payloads` and yield an Outcome for each: in their order or, with `as_completed`, as they end.

        At most `in_flight` payloads are read whose outcome is not yet yielded, so `payloads` may be endless. A payload
        that fails gives an outcome with an `error`, and the others continue. If the reply to a submit is lost, the
        submit is retried, but not if the payload is a file or an iterable. If the queue is full, `map` waits. `timeout`
        limits each payload, in seconds since it was read. If the caller stops early, submitted workloads continue to
        run.
        """
        window = Window(in_flight, as_completed=as_completed)

        def begin(index: int, payload: Payload) -> Flow[Outcome]:
            return self._flows.outcome(index, api, payload, content_type, timeout)

        return InFlight(window, self._start).run(payloads, begin)

    def close(self) -> None:
        """Close the connection. Running calls end with an error."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _shown(self, flow: WatchFlow | ManyFlow[None], read: Callable[[], object] | None = None) -> Iterator[Any]:
        """Perform a flow, and yield the value of each step `Show`. `read` returns the caller's next payload, or END."""
        try:
            step = take(flow)
            while not isinstance(step, Done):
                if isinstance(step, Show):
                    yield step.value
                    step = take(flow)
                elif isinstance(step, Take):
                    step = take(flow, cast("Callable[[], object]", read)())
                else:
                    step = take(flow, *self._try(step))
        finally:
            flow.close()

    def _drive(self, flow: Flow[T]) -> T:
        step = take(flow)
        while not isinstance(step, Done):
            step = take(flow, *self._try(step))
        return step.value

    def _try(self, step: Step | Listen | Next | Converse | Send | Fetch) -> tuple[object, Exception | None]:
        try:
            return self._perform(step), None
        except Exception as error:  # noqa: BLE001 - the flow decides
            return None, error

    def _perform(self, step: Step | Listen | Next | Converse | Send | Fetch) -> object:
        match step:
            case Pause():
                time.sleep(step.seconds)
                return None
            case Listen():
                return self._results.WatchWorkload(step.request, timeout=step.timeout_s)
            case Next():
                return next(step.stream, None)
            case Converse() | Send() | Fetch():
                return self._perform_many(step)
            case _:
                return self._finish(self._start(step))

    def _perform_many(self, step: Converse | Send | Fetch) -> object:
        match step:
            case Converse():
                return calls.Conversation(self._submit)
            case Send():
                return step.stream.send(step.batch)
            case Fetch():
                return self._results.FetchWorkloads(step.request, timeout=step.timeout_s)

    def _start(self, step: Submit | Read) -> Pending:
        if isinstance(step, Read):
            return self._results.GetWorkload.future(step.request, timeout=step.timeout_s)
        if not step.outgoing.fits_one_message:
            return Upload(self._submit, step)
        request = calls.submit_request(step.api, step.outgoing)
        return self._submit.SubmitWorkload.future(request, timeout=calls.ANSWER_TIMEOUT_S, metadata=step.metadata)

    @staticmethod
    def _finish(pending: Pending) -> object:
        try:
            return pending.result()
        except BaseException:
            pending.cancel()  # after a Ctrl-C; no effect if the call has ended
            raise
