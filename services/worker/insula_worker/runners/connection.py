"""The supervisor's end of the socket to one runner: sends jobs, receives answers and metrics.

Owns the order of the frames: jobs are written whole, one after the other, and answered in that order. It does not
manage the process: the owner of the process calls `fail` once the runner has ended. Every waiting job then raises
RunnerDied.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import cast

from insula.errors import InsulaError
from insula_runner.frames import CHUNK_BYTES, RECEIVE_BYTES, Frame, FrameBuffer, FrameInvalid, Header, encode_frame
from insula_worker.runners.messages import Job, Metric, Outcome, read_metric, read_outcome

WRITE_BUFFER_BYTES = 4 * CHUNK_BYTES  # bytes buffered in memory for a busy runner


class RunnerDied(InsulaError):
    """The runner ended before it answered. `reason` describes the end, such as "was killed by signal 11 (SIGSEGV)".

    `sent` is False if the runner ended before the job was written. The job then cannot be the cause.
    """

    def __init__(self, reason: str, *, sent: bool = True) -> None:
        super().__init__(f"the handler's process {reason}")
        self.reason = reason
        self.sent = sent


class _Waiting:
    """A job that was written to the runner, or is being written, and has no answer yet."""

    __slots__ = ("answer", "id")

    def __init__(self, id: str) -> None:
        self.id = id
        self.answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()


class RunnerConnection(asyncio.BufferedProtocol):
    """Exchanges frames with a runner. One read may complete many jobs, and one write may carry many."""

    def __init__(self, on_metric: Callable[[Metric], None] | None) -> None:
        self.started: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()
        self.fault: str | None = None
        self._on_metric = on_metric
        self._transport: asyncio.Transport | None = None
        self._space = bytearray(RECEIVE_BYTES)
        self._frames = FrameBuffer()
        self._waiting: deque[_Waiting] = deque()
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._streaming = asyncio.Lock()
        self._death: str | None = None

    async def run(self, job: Job) -> Outcome:
        """Write the job and wait for its answer.

        Raises RunnerDied if the runner ends first, and ValueError if the payload does not have `job.payload_bytes`
        bytes. The connection stays usable if the call is cancelled or the payload iterator raises.
        """
        header: Header = {"type": "job", "id": job.id, "trace_id": job.trace_id}
        header |= {"content_type": job.content_type, "payload_bytes": job.payload_bytes}
        header |= {"direct_hosts": job.direct_hosts} if job.direct_hosts else {}
        payload = job.payload
        if isinstance(payload, bytes) and len(payload) == job.payload_bytes <= CHUNK_BYTES and self._may_write():
            waiting = self._write_job(header, payload)
        else:
            async with self._streaming:
                waiting = await self._stream_job(job, header)
        return await waiting.answer

    def _may_write(self) -> bool:
        return self._writable.is_set() and not self._streaming.locked()

    def _write_job(self, header: Header, body: bytes) -> _Waiting:
        if self._death is not None:
            raise RunnerDied(self._death, sent=False)
        frame = encode_frame(header, body)
        waiting = _Waiting(header["id"])
        self._waiting.append(waiting)
        self.write(frame)
        return waiting

    async def _stream_job(self, job: Job, header: Header) -> _Waiting:
        """Write a job in chunks, no faster than the runner reads them."""
        await self._writable.wait()
        waiting = self._write_job(header, b"")
        missing_bytes = job.payload_bytes
        try:
            async for piece in _pieces(job.payload, job.payload_bytes):
                self.write(encode_frame({"type": "chunk"}, piece))
                missing_bytes -= len(piece)
                await self._writable.wait()
                if self.closed.is_set():
                    break
        except BaseException:
            self._give_up(waiting, missing_bytes)
            raise
        return waiting

    def _give_up(self, waiting: _Waiting, missing_bytes: int) -> None:
        """Abort a cancelled job if `missing_bytes` of its payload are not written. Otherwise drop its later answer."""
        if not waiting.answer.cancel():
            return  # the runner died meanwhile, and `fail` has emptied the queue
        if missing_bytes:
            self._waiting.remove(waiting)
            self.write(encode_frame({"type": "abort"}))

    def write(self, frame: bytes) -> None:
        """Queue a frame. The frames of one loop iteration are sent in one system call, or dropped after `close`."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(frame)
        self._outgoing_bytes += len(frame)
        if self._outgoing_bytes > WRITE_BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        frames, self._outgoing, self._outgoing_bytes = self._outgoing, [], 0
        if frames and self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def finish_writing(self) -> None:
        """Shut down our side of the socket: no more jobs follow. The runner answers the jobs it has and ends."""
        self._flush()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Drop the connection. Unwritten data is lost."""
        if self._transport is not None:
            self._transport.close()
        # Not only in connection_lost, which the transport calls after the runner has read all data: it may never do so.
        self.closed.set()

    def fail(self, reason: str) -> None:
        """Raise RunnerDied in every waiting and every later job."""
        self._death = reason
        for waiting in self._waiting:
            if not waiting.answer.done():
                waiting.answer.set_exception(RunnerDied(reason))
        self._waiting.clear()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - the protocol's signature
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._frames.feed(memoryview(self._space)[:nbytes]):
                self._take(frame)
        except (FrameInvalid, KeyError, TypeError, ValueError) as error:
            # User code shares the runner's process and can reach its socket, so each frame is checked.
            self.fault = f"sent what is not a frame: {error}"
            self.close()

    def _take(self, frame: Frame) -> None:
        match frame.type:
            case "result" | "failure":
                self._settle(frame.header["id"], read_outcome(frame))
            case "metric":
                metric = read_metric(frame.header)
                if self._on_metric is not None:
                    # Called later, because an error in the callback must not be treated as an invalid frame.
                    asyncio.get_running_loop().call_soon(self._on_metric, metric)
            case "ready" | "refused" if not self.started.done():
                self.started.set_result(frame)
            case _:
                raise FrameInvalid(f"{frame.type!r} was not expected")

    def _settle(self, id: str, outcome: Outcome) -> None:
        if not self._waiting or self._waiting[0].id != id:
            raise FrameInvalid(f"{id!r} is not the job whose turn it is")
        waiting = self._waiting.popleft()
        if not waiting.answer.done():
            waiting.answer.set_result(outcome)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> None:
        """Let the transport close itself: a runner that closed its side sends no more answers."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the exit code is more precise
        self._writable.set()
        self.closed.set()


async def _pieces(payload: bytes | AsyncIterator[bytes], payload_bytes: int) -> AsyncIterator[memoryview]:
    """Cut a payload into pieces of at most CHUNK_BYTES. Raises ValueError if it does not have `payload_bytes` bytes."""
    passed_bytes = 0
    async for block in payload if not isinstance(payload, bytes) else _one(payload):
        passed_bytes += len(block)
        if passed_bytes > payload_bytes:
            raise ValueError(f"the payload has more than the {payload_bytes} bytes of its record")
        view = memoryview(block)
        for start in range(0, len(view), CHUNK_BYTES):
            yield view[start : start + CHUNK_BYTES]
    if passed_bytes < payload_bytes:
        raise ValueError(f"the payload has {passed_bytes} of the {payload_bytes} bytes of its record")


async def _one(block: bytes) -> AsyncIterator[bytes]:
    yield block
