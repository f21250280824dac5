"""The logic of both clients, as flows of steps without I/O.

A flow is a generator for one call of a client's method. It yields a step, receives the step's result or error, and at
the end returns the result of the method. Client performs the steps with threads, AsyncClient with asyncio. All
decisions are made here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, cast
from uuid import uuid4

import grpc
from grpc import StatusCode

from insula.client.calls import ANSWER_TIMEOUT_S, Patience, get_request
from insula.client.failures import Call, RpcFailure, WorkloadFailed, error_of
from insula.client.payloads import AsyncPayload, Outgoing, prepare
from insula.client.workload import Outcome, Workload, parse_workload
from insula.errors import InvalidArgument, ResourceExhausted
from insula.v1.results_service_pb2 import GetWorkloadRequest, WatchWorkloadRequest

if TYPE_CHECKING:
    from insula.errors import InsulaError

S = TypeVar("S")
T = TypeVar("T")

REPEAT_S: Final = 60.0
"""How long a failed call is retried, if repeating it does no harm."""
PAUSE_MIN_S: Final = 0.2
PAUSE_MAX_S: Final = 5.0
_KEY: Final = "idempotency-key"
_KEY_BYTES_MAX: Final = 255
_LOST: Final = frozenset({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED})
_RESET: Final = "RST_STREAM"


@dataclass(frozen=True, slots=True)
class Submit:
    """The step that sends a payload. Its result is a reply with the workload's id."""

    api: str
    outgoing: Outgoing
    metadata: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Read:
    """The step that reads a workload. Its result is the reply."""

    request: GetWorkloadRequest
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """The step that waits for a time. It has no result."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Listen:
    """The step that requests the changes of a workload. Its result is a stream of them, which has a method `cancel`."""

    request: WatchWorkloadRequest
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Next:
    """The step that waits for the next message of a stream. Its result is the message, or None at the end."""

    stream: Any  # gRPC's two kinds of call have no type in common


@dataclass(frozen=True, slots=True)
class Show:
    """The step that yields a value to the user's code, for example a workload of `Client.watch`. It has no result."""

    value: Any


Step: TypeAlias = Submit | Read | Pause
Flow: TypeAlias = Generator[Step, Any, T]
WatchFlow: TypeAlias = Generator[Step | Listen | Next | Show, Any, None]


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The end of a flow, with its return value."""

    value: T


def take(flow: Generator[S, Any, T], answer: object = None, error: Exception | None = None) -> S | Done[T]:
    """Return the next step of a flow, or Done at its end. The last step had the result `answer`, or raised `error`.

    Raises the errors of the flow.
    """
    try:
        return flow.send(answer) if error is None else flow.throw(error)
    except StopIteration as end:
        return Done(end.value)


class Repeats:
    """Decides when a failed call is retried: with exponential backoff, until REPEAT_S after the first failure."""

    def __init__(self) -> None:
        self._until: float | None = None
        self._pause_s = PAUSE_MIN_S

    def pause_s(self) -> float | None:
        """Return how long to wait before the next try; None if the call is not retried again."""
        now = time.monotonic()
        self._until = self._until or now + REPEAT_S
        if now >= self._until:
            return None
        pause_s, self._pause_s = self._pause_s, min(PAUSE_MAX_S, 2 * self._pause_s)
        return pause_s * random.uniform(0.5, 1)


class Flows:
    """The flows of a client for one URL. Each method returns the flow of the client's method with the same name.

    `outcome` is the flow of one payload of `map`.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def submit(self, api: str, payload: AsyncPayload, content_type: str | None, key: str | None) -> Flow[str]:
        """Return the workload's id. A call is repeated only with an idempotency key and a payload in memory."""
        outgoing, repeats = prepare(payload, content_type), Repeats()
        step = Submit(api, outgoing, _metadata(key))
        while True:
            try:
                reply = yield step
            except grpc.RpcError as error:
                safe = key is not None and outgoing.body is not None
                pause_s = repeats.pause_s() if safe and was_lost(error) else None
                if pause_s is None:
                    raise self._error(error, api) from error
            else:
                return str(reply.id)
            yield Pause(pause_s)

    def get(self, api: str, id: str, wait_s: float = 0) -> Flow[Workload]:
        """Return the workload's state once the workload has ended, or after `wait_s`."""
        try:
            reply = yield Read(get_request(api, id, wait_s), wait_s + ANSWER_TIMEOUT_S)
        except grpc.RpcError as error:
            raise self._error(error, api, id) from error
        return parse_workload(reply.workload)

    def wait(self, api: str, id: str, timeout: float | None) -> Flow[Workload]:
        """Return the workload once it has ended. Raises TimeoutError after `timeout` seconds; None means no limit."""
        return (yield from self._wait(api, id, Patience(timeout)))

    def run(
        self, api: str, payload: AsyncPayload, content_type: str | None, key: str | None, timeout: float | None
    ) -> Flow[dict[str, Any]]:
        """Submit, wait, and return the result. Raises WorkloadFailed, or TimeoutError after `timeout` seconds."""
        id = yield from self.submit(api, payload, content_type, key)
        workload = yield from self.wait(api, id, timeout)
        if workload.result is None:
            raise WorkloadFailed(workload)
        return workload.result

    def watch(self, api: str, id: str, timeout: float | None) -> WatchFlow:
        """Yield a step `Show` with the workload for each change. If the stream breaks, open it again.

        Raises TimeoutError after `timeout` seconds.
        """
        patience, repeats, shown = Patience(timeout), Repeats(), None
        while True:
            stream = yield Listen(WatchWorkloadRequest(api=api, id=id), patience.left_s())
            try:
                while message := (yield Next(stream)):
                    workload, repeats = parse_workload(message.workload), Repeats()
                    if (workload.status, workload.attempt) != shown:
                        shown = workload.status, workload.attempt
                        # The messages of the stream leave results out.
                        yield Show((yield from self.get(api, id)) if workload.ended else workload)
                    if workload.ended:
                        return
            except grpc.RpcError as error:
                if patience.left_s() == 0:
                    raise patience.give_up(api, id) from None
                if not was_lost(error):
                    raise self._error(error, api, id) from error
                failure: Exception = self._error(error, api, id)
            else:
                failure = TimeoutError(f"{self._url} did not return the end of workload {id} of {api}")
            finally:
                stream.cancel()
            pause_s = repeats.pause_s()
            if pause_s is None:
                raise failure
            yield Pause(pause_s)

    def outcome(
        self, index: int, api: str, payload: AsyncPayload, content_type: str | None, timeout: float | None
    ) -> Flow[Outcome]:
        """Submit, wait, and return the outcome, which contains any error. If the queue is full, submit again later."""
        patience, key, id = Patience(timeout), uuid4().hex, None
        try:
            while id is None:
                try:
                    id = yield from self.submit(api, payload, content_type, key)
                except ResourceExhausted as error:
                    pause_s, left_s = max(PAUSE_MIN_S, error.retry_after.total_seconds()), patience.left_s()
                    if left_s is not None and pause_s >= left_s:
                        raise
                    yield Pause(pause_s)
            workload = yield from self._wait(api, id, patience)
        except Exception as error:  # noqa: BLE001 - kept for the caller, as a Future keeps it
            return Outcome(index, payload, id, None, error)
        return Outcome(index, payload, id, workload, WorkloadFailed(workload) if workload.result is None else None)

    def _wait(self, api: str, id: str, patience: Patience) -> Flow[Workload]:
        while True:
            wait_s = patience.next_wait_s()
            workload = yield from self.get(api, id, wait_s)
            if workload.ended:
                return workload
            if not wait_s:
                raise patience.give_up(api, id)

    def _error(self, error: grpc.RpcError, api: str, id: str = "") -> InsulaError | TimeoutError:
        return error_of(cast("RpcFailure", error), Call(self._url, api, id))


def was_lost(error: grpc.RpcError) -> bool:
    """Whether the call can be retried: it may not have reached a service, or a store was unavailable."""
    failure = cast("RpcFailure", error)
    return failure.code() in _LOST or (failure.code() is StatusCode.INTERNAL and _RESET in (failure.details() or ""))


def _metadata(key: str | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a submit with this idempotency key. Raises InvalidArgument as `check_key` does."""
    check_key(key)
    return () if key is None else ((_KEY, key),)


def check_key(key: str | None) -> None:
    """Raise InvalidArgument if a header cannot contain this idempotency key."""
    if key is not None and not (key.isascii() and key.isprintable() and 0 < len(key) <= _KEY_BYTES_MAX):
        raise InvalidArgument(
            f"idempotency_key: must be 1 to {_KEY_BYTES_MAX} printable ASCII characters (got {key!r})"
        )
