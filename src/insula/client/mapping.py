"""`Client.map`: submits many payloads, a limited number at a time, and decides which outcome is yielded next."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol, TypeVar, cast

from insula.client.flows import Done, Flow, Pause, Read, Submit, take
from insula.client.workload import Outcome
from insula.errors import InvalidArgument

P = TypeVar("P")

IN_FLIGHT: Final = 32
_END: Final = object()


class Pending(Protocol):
    """A running call: a future of gRPC, or an Upload."""

    def result(self) -> Any: ...
    def cancel(self) -> object: ...
    def add_done_callback(self, fn: Callable[[Any], None], /) -> None: ...


class Window:
    """Allows at most `in_flight` payloads that are started and whose outcome is not yet yielded.

    Unless `as_completed`, it holds an outcome back until the outcomes of all earlier payloads have been yielded.
    """

    def __init__(self, in_flight: int, *, as_completed: bool) -> None:
        if in_flight < 1:
            raise InvalidArgument(f"in_flight: must be at least 1 (got {in_flight})")
        self._in_flight = in_flight
        self._as_completed = as_completed
        self._started = 0
        self._handed_out = 0
        self._held: dict[int, Outcome] = {}

    @property
    def open(self) -> bool:
        """Whether one more payload may start."""
        return self._started - self._handed_out < self._in_flight

    def start(self) -> int:
        """Count one more payload as started, and return its index, from 0."""
        self._started += 1
        return self._started - 1

    def end(self, outcome: Outcome) -> Iterator[Outcome]:
        """Record `outcome`, and yield each outcome that need not wait for an earlier one."""
        if self._as_completed:
            self._handed_out += 1
            yield outcome
            return
        self._held[outcome.index] = outcome
        while (following := self._held.pop(self._handed_out, None)) is not None:
            self._handed_out += 1
            yield following


class InFlight:
    """The flows of one `Client.map`, one for each payload: see `insula.client.flows`.

    The caller's thread runs the flows, gRPC's threads run the calls.
    """

    def __init__(self, window: Window, start: Callable[[Submit | Read], Pending]) -> None:
        """`start` sends the request of a Submit or a Read, and returns without waiting for the answer."""
        self._window, self._start = window, start
        self._answered: SimpleQueue[tuple[Flow[Outcome], Pending]] = SimpleQueue()
        self._under_way: set[Pending] = set()
        self._pauses: list[tuple[float, int, Flow[Outcome]]] = []
        self._pauses_made = 0

    def run(self, payloads: Iterable[P], begin: Callable[[int, P], Flow[Outcome]]) -> Iterator[Outcome]:
        """Yield the outcomes. Raises errors of reading `payloads`.

        `begin(index, payload)` returns the flow of a payload: a generator of the calls to make for it.
        """
        source, more = iter(payloads), True
        try:
            while more or self._under_way or self._pauses:
                while more and self._window.open:
                    payload = next(source, _END)
                    more = payload is not _END
                    if more:
                        yield from self._advance(begin(self._window.start(), cast("P", payload)))
                if self._under_way or self._pauses:
                    yield from self._go_on()
        finally:
            for pending in self._under_way:
                pending.cancel()

    def _go_on(self) -> Iterator[Outcome]:
        """Wait until one call is answered or one flow's pause is over, and continue that flow (`_advance`)."""
        wait_s = max(0.0, self._pauses[0][0] - time.monotonic()) if self._pauses else None
        try:
            flow, pending = self._answered.get(timeout=wait_s)
        except Empty:
            yield from self._advance(heapq.heappop(self._pauses)[2])
            return
        self._under_way.discard(pending)
        try:
            answer = pending.result()
        except Exception as error:  # noqa: BLE001 - the flow decides
            yield from self._advance(flow, error=error)
        else:
            yield from self._advance(flow, answer)

    def _advance(self, flow: Flow[Outcome], answer: object = None, error: Exception | None = None) -> Iterator[Outcome]:
        """Start the next step of a flow. If the flow ends, yield the outcomes that `Window.end` yields."""
        step = take(flow, answer, error)
        if isinstance(step, Done):
            yield from self._window.end(step.value)
            return
        if isinstance(step, Pause):
            self._pauses_made += 1
            heapq.heappush(self._pauses, (time.monotonic() + step.seconds, self._pauses_made, flow))
            return
        pending = self._start(step)
        self._under_way.add(pending)
        pending.add_done_callback(lambda _: self._answered.put((flow, pending)))


async def run_tasks(
    window: Window,
    payloads: Iterable[P] | AsyncIterable[P],
    begin: Callable[[int, P], Coroutine[Any, Any, Outcome]],
) -> AsyncIterator[Outcome]:
    """Yield the outcomes. `begin(index, payload)` runs as a task for each payload.

    Raises errors of reading `payloads`.
    """
    source = aiter(payloads if isinstance(payloads, AsyncIterable) else each(payloads))
    running: set[asyncio.Task[Outcome]] = set()
    reading: asyncio.Task[object] | None = None
    more = True
    try:
        while True:
            if more and reading is None and window.open:
                reading = asyncio.create_task(_read(source))
            if reading is None and not running:
                return
            done, _ = await asyncio.wait({*running, *filter(None, [reading])}, return_when=asyncio.FIRST_COMPLETED)
            if reading in done:
                payload, reading = reading.result(), None
                more = payload is not _END
                if more:
                    running.add(asyncio.create_task(begin(window.start(), cast("P", payload))))
            for task in running & done:
                running.discard(task)
                for outcome in window.end(task.result()):
                    yield outcome
    finally:
        for left in (*running, *filter(None, [reading])):
            left.cancel()
            with suppress(asyncio.CancelledError):
                await left


async def each(payloads: Iterable[P]) -> AsyncIterator[P]:
    """Yield the items of an ordinary iterable, as an asynchronous iterator."""
    for payload in payloads:
        yield payload


async def _read(source: AsyncIterator[object]) -> object:
    return await anext(source, _END)
