"""The worker's end of the stream to one runner: receives its answers and metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from insula_runner.frames import RECEIVE_BYTES, Frame, FrameBuffer, FrameInvalid, Header, encode_frame
from insula_worker.runners.messages import Metric, Outcome, read_metric, read_outcome

log = logging.getLogger(__name__)


class RunnerConnection(asyncio.BufferedProtocol):
    """Reads the frames that one runner sends. One read of the socket may contain many frames."""

    def __init__(
        self, on_answer: Callable[[int, Outcome], bool], on_metric: Callable[[Metric], None] | None = None
    ) -> None:
        """`on_answer` is called with the number of a job and its outcome. It returns whether the number is known."""
        self.started: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()
        self.fault: str | None = None
        self._on_answer = on_answer
        self._on_metric = on_metric
        self._transport: asyncio.Transport | None = None
        self._space = bytearray(RECEIVE_BYTES)
        self._frames = FrameBuffer()

    def write(self, header: Header, body: bytes) -> None:
        """Send a frame to the runner. Does nothing without a connection."""
        if self._transport is not None:
            self._transport.write(encode_frame(header, body))

    def close(self) -> None:
        """Drop the connection. Unwritten data is lost."""
        if self._transport is not None:
            self._transport.close()
        # Not only in connection_lost, which the transport calls after the runner has read all data: it may never do so.
        self.closed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - the protocol's signature
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._frames.feed(memoryview(self._space)[:nbytes]):
                self._take(frame)
        except (FrameInvalid, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            # User code shares the runner's process and can reach its socket, so each frame is checked.
            self.fault = f"sent what is not a frame: {error}"
            self.close()

    def _take(self, frame: Frame) -> None:
        match frame.type:
            case "result" | "failure":
                self._answer(int(frame.header["job"]), read_outcome(frame))
            case "metric":
                metric = read_metric(frame.header)
                if self._on_metric is not None:
                    # Called later, because an error in the callback must not be treated as an invalid frame.
                    asyncio.get_running_loop().call_soon(self._on_metric, metric)
            case "ready" | "refused" if not self.started.done():
                self.started.set_result(frame)
            case _:
                raise FrameInvalid(f"{frame.type!r} was not expected")

    def _answer(self, number: int, outcome: Outcome) -> None:
        try:
            known = self._on_answer(number, outcome)
        except Exception:  # the worker's error: the process has sent a frame
            log.exception(
                "unexpected error in the worker while it processed the answer of a handler process",
                extra={"job": number},
            )
            return
        if not known:
            raise FrameInvalid(f"it answers job {number}, which it does not have")

    def eof_received(self) -> None:
        """Let the transport close itself: a runner that closed its side sends no more answers."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the exit code is more precise
        self.closed.set()
