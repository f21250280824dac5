"""Many workloads in few calls: the flows of the clients' methods `submit_many` and `results`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar, cast

import grpc

from insula.client.calls import ANSWER_TIMEOUT_S, WAIT_MAX_S, Patience, fetch_request
from insula.client.failures import Call, RpcFailure, Unreachable, WorkloadFailed, error_in, error_of
from insula.client.flows import Flows, Next, Pause, Repeats, Show, Step, check_key, was_lost
from insula.client.payloads import prepare
from insula.client.workload import Outcome, Submitted, Workload, parse_workload
from insula.errors import InvalidArgument, ResourceExhausted, StoreUnavailable
from insula.v1.results_service_pb2 import FetchWorkloadsRequest, FetchWorkloadsResponse
from insula.v1.submit_service_pb2 import SubmitWorkloadsRequest, SubmitWorkloadsResponse

T = TypeVar("T")

BATCH_PAYLOADS: Final = 256
BATCH_BYTES: Final = 2**20
"""A batch is sent once it has BATCH_PAYLOADS payloads or BATCH_BYTES bytes."""
BATCH_S: Final = 0.1
"""Age of a batch at which it is sent even if it is small. The age is checked after each payload that is read."""
PAYLOAD_BYTES_MAX: Final = 4 * 2**20
"""Most bytes in the payloads of one message. A larger payload cannot be sent with `submit_many`."""
BATCHES_AHEAD: Final = 4
"""Most batches that are sent and not yet answered."""
IDS_MAX: Final = 10_000
"""Most ids in one call of FetchWorkloads."""
ROUND_S: Final = 2.0
"""How long a call waits if there are more than IDS_MAX ids, so that the next call requests the others soon."""


@dataclass(frozen=True, slots=True)
class Converse:
    """The step that opens the stream of batches. Its result has methods `send` and `cancel`."""


@dataclass(frozen=True, slots=True)
class Take:
    """The step that reads the caller's next payload. Its result is the payload, or END."""


@dataclass(frozen=True, slots=True)
class Send:
    """The step that sends a batch. It has no result. If the call fails, the following step `Next` raises the error."""

    stream: Any
    batch: SubmitWorkloadsRequest


@dataclass(frozen=True, slots=True)
class Fetch:
    """The step that requests many workloads. Its result is a stream of messages, which has a method `cancel`."""

    request: FetchWorkloadsRequest
    timeout_s: float


END: Final = object()
ManyFlow: TypeAlias = Generator[Converse | Take | Send | Fetch | Next | Show | Step, Any, T]


class _Batch:
    """Payloads of one content type that are sent together."""

    def __init__(self, api: str, key: str, index: int) -> None:
        self.payloads: list[object] = []
        self.request = SubmitWorkloadsRequest(api=api, idempotency_key=key, first_number=index + 1)
        self._index, self._bytes, self._began_s = index, 0, time.monotonic()

    @property
    def is_full(self) -> bool:
        """Whether it is time to send the batch."""
        late = time.monotonic() - self._began_s > BATCH_S
        return late or len(self.payloads) >= BATCH_PAYLOADS or self._bytes >= BATCH_BYTES

    def add(self, payload: object, content_type: str, body: bytes) -> bool:
        """Add a payload, unless it has another content type or is too large for the batch. Return whether it fitted."""
        if self.payloads and (content_type != self.request.content_type or self._bytes + len(body) > PAYLOAD_BYTES_MAX):
            return False
        self.payloads.append(payload)
        self.request.content_type = content_type
        self.request.payloads.append(body)
        self._bytes += len(body)
        return True

    def answers(self, response: SubmitWorkloadsResponse, call: Call) -> list[Submitted]:
        """Return the id or the error of each payload, in the order of the payloads. `call` is for the error texts."""
        errors = {refusal.index: error_in(refusal.error, call) for refusal in response.refusals}
        pairs = zip(self.payloads, response.ids, strict=True)
        return [
            Submitted(self._index + place, payload, id or None, errors.get(place))
            for place, (payload, id) in enumerate(pairs)
        ]


class _Source:
    """Makes batches of the caller's payloads."""

    def __init__(self, api: str, content_type: str | None, key: str) -> None:
        self._api, self._content_type, self._key = api, content_type, key
        self._index = 0
        self._held: list[object] = []  # a payload that was read and did not fit into the last batch

    def next(self) -> ManyFlow[_Batch | Submitted | None]:
        """Return the next batch, the error of a payload that cannot be sent, or None at the end."""
        batch = _Batch(self._api, self._key, self._index)
        while not batch.is_full or not batch.payloads:
            payload = self._held.pop() if self._held else (yield Take())
            if payload is END:
                break
            try:
                content_type, body = _sendable(payload, self._content_type)
            except InvalidArgument as error:
                if batch.payloads:
                    self._held.append(payload)
                    break
                self._index += 1
                return Submitted(self._index - 1, payload, None, error)
            if not batch.add(payload, content_type, body):
                self._held.append(payload)
                break
            self._index += 1
        return batch if batch.payloads else None


def _sendable(payload: Any, content_type: str | None) -> tuple[str, bytes]:
    """Return the content type and the bytes of a payload. Raises InvalidArgument if it is a stream or too large."""
    outgoing = prepare(payload, content_type)
    if outgoing.body is None or len(outgoing.body) > PAYLOAD_BYTES_MAX:
        raise InvalidArgument("payload: submit_many takes payloads in memory of up to 4 MiB; use submit for this one")
    return outgoing.content_type, outgoing.body


class ManyFlows:
    """The flows of `submit_many` and `results` for one URL; see `insula.client.flows`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._flows = Flows(url)

    def submit_many(self, api: str, content_type: str | None, key: str | None) -> ManyFlow[None]:
        """Yield a step `Show` with a Submitted for each payload, in order. With a key, send lost batches again."""
        check_key(key)
        source, call, repeats = _Source(api, content_type, key or ""), Call(self._url, api), Repeats()
        sent, stream = deque[_Batch | Submitted](), _Stream()
        try:
            while True:
                while len(sent) < BATCHES_AHEAD and (batch := (yield from source.next())) is not None:
                    sent.append(batch)
                    yield from stream.send(batch)
                if not sent:
                    return
                answers, lost = yield from self._answers(stream, sent[0], call)
                if lost is None or (key is None and answers):
                    sent.popleft()
                    repeats = Repeats()
                    for answer in answers:
                        yield Show(answer)
                    continue
                pause_s = repeats.pause_s() if key is not None else None
                if pause_s is None:
                    raise lost
                stream.cancel()
                yield Pause(pause_s)
                for batch in sent:
                    yield from stream.send(batch)
        finally:
            stream.cancel()

    def _answers(
        self, stream: _Stream, batch: _Batch | Submitted, call: Call
    ) -> ManyFlow[tuple[list[Submitted], Exception | None]]:
        """Return the answers to a batch, and an error after which the batch may be sent again, or None.

        Raises the error of a call that must not be repeated.
        """
        if isinstance(batch, Submitted):
            return [batch], None
        try:
            response = yield Next(stream.open)
        except grpc.RpcError as error:
            failure = error_of(cast("RpcFailure", error), call)
            if was_lost(error) or isinstance(failure, ResourceExhausted):
                return [], failure
            raise failure from error
        if response is None:
            return [], Unreachable(self._url, "the call ended before its answers")
        answers = batch.answers(response, call)
        return answers, next((one.error for one in answers if isinstance(one.error, StoreUnavailable)), None)

    def results(self, api: str, ids: Iterable[str], timeout: float | None) -> ManyFlow[None]:
        """Yield a step `Show` with an outcome for each id, as the workloads end."""
        places: dict[str, list[int]] = {}
        for index, id in enumerate(ids):
            places.setdefault(id, []).append(index)
        waiting, patience, repeats = dict.fromkeys(places), Patience(timeout), Repeats()

        def outcomes(id: str, workload: Workload | None, error: Exception | None) -> Iterator[Show]:
            return (Show(Outcome(index, None, id, workload, error)) for index in places[id])

        while waiting:
            some = list(islice(waiting, IDS_MAX))
            wait_s = min(patience.next_wait_s(), ROUND_S if len(waiting) > IDS_MAX else WAIT_MAX_S)
            stream = yield Fetch(fetch_request(api, some, wait_s), wait_s + ANSWER_TIMEOUT_S)
            try:
                while (message := (yield Next(stream))) is not None:
                    repeats = Repeats()
                    for end in (yield from self._ends(message, api)):
                        del waiting[end[0]]
                        yield from outcomes(*end)
            except grpc.RpcError as error:
                yield from self._pause(error, api, repeats)
            finally:
                stream.cancel()
            for id in filter(waiting.__contains__, some):  # to the end: the others are requested first
                waiting[id] = waiting.pop(id)
            if patience.left_s() == 0:
                break
        for id in waiting:
            yield from outcomes(id, None, patience.give_up(api, id))

    def _pause(self, error: grpc.RpcError, api: str, repeats: Repeats) -> ManyFlow[None]:
        """Wait before a read that failed with `error` is repeated. Raises an error if the read must not be repeated."""
        failure = error_of(cast("RpcFailure", error), Call(self._url, api))
        again = was_lost(error) or isinstance(failure, ResourceExhausted)
        pause_s = repeats.pause_s() if again else None
        if pause_s is None:
            raise failure from error
        yield Pause(pause_s)

    def _ends(
        self, message: FetchWorkloadsResponse, api: str
    ) -> ManyFlow[list[tuple[str, Workload | None, Exception | None]]]:
        """Return (id, workload, error) for each workload of a message that has ended or cannot be read."""
        found: list[tuple[str, Workload | None, Exception | None]] = [
            (failure.id, None, error_in(failure.error, Call(self._url, api, failure.id)))
            for failure in message.failures
        ]
        for each in message.workloads:
            workload = parse_workload(each)
            if workload.result_json == b"":  # too large for this call
                workload = yield from self._flows.get(api, workload.id)
            if workload.ended:
                found.append((workload.id, workload, None if workload.result_json else WorkloadFailed(workload)))
        return found


class _Stream:
    """The stream of batches. It is opened when the first batch is sent."""

    def __init__(self) -> None:
        self.open: Any = None

    def send(self, batch: _Batch | Submitted) -> ManyFlow[None]:
        """Send `batch`. Do nothing for a Submitted, which is the error of a payload that cannot be sent."""
        if isinstance(batch, _Batch):
            if self.open is None:
                self.open = yield Converse()
            yield Send(self.open, batch.request)

    def cancel(self) -> None:
        """End the call, if there is one."""
        if self.open is not None:
            self.open.cancel()
            self.open = None
