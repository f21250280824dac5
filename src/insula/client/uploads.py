"""The submit of a large or streamed payload in pieces, for both clients.

An upload runs on gRPC's own threads even under asyncio. If a server refuses a payload before the payload has ended,
grpc.aio may report INTERNAL instead of the refusal (seen with grpcio 1.85).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, Callable, Iterator
from concurrent.futures import Future
from typing import Any, Final

import grpc

from insula.client.calls import UploadRequests
from insula.client.flows import Submit
from insula.client.payloads import async_pieces, pieces
from insula.v1.submit_service_pb2 import UploadWorkloadRequest, UploadWorkloadResponse
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub

UPLOAD_TIMEOUT_S: Final = 3_600.0


class Upload:
    """A running upload, with methods of a future. `result` raises grpc.RpcError, or an error of reading the payload."""

    def __init__(self, stub: SubmitServiceStub, step: Submit, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Start the upload. `loop` is the event loop that reads an asynchronous payload."""
        outgoing = step.outgoing
        self._requests = UploadRequests(step.api, outgoing.content_type)
        self._reader = _Reader(loop, outgoing.source) if loop and isinstance(outgoing.source, AsyncIterable) else None
        self._pieces = self._reader or pieces(outgoing.source)
        self._fault: Exception | None = None
        self._started = threading.Event()
        self._call = stub.UploadWorkload.future(self._messages(), timeout=UPLOAD_TIMEOUT_S, metadata=step.metadata)
        self._started.set()

    def result(self) -> UploadWorkloadResponse:
        """Wait for the answer and return it."""
        try:
            return self._call.result()
        except grpc.FutureCancelledError:
            if self._fault is None:
                raise
            raise self._fault from None
        except BaseException:
            # The caller gets no answer any more, so cancel the call; no effect if it has ended.
            self._call.cancel()
            raise

    def cancel(self) -> None:
        """Cancel the upload; no effect if it has ended."""
        self._call.cancel()

    def add_done_callback(self, fn: Callable[[Any], None], /) -> None:
        """Call `fn` once the upload has ended, on one of gRPC's threads. The argument of `fn` is the gRPC call."""
        self._call.add_done_callback(fn)

    async def wait_in(self, loop: asyncio.AbstractEventLoop) -> UploadWorkloadResponse:
        """Wait for the answer and return it. If the caller is cancelled, the upload is cancelled."""
        ended = asyncio.Event()
        self._call.add_done_callback(lambda _: _tell(loop, ended))
        try:
            await ended.wait()
        except asyncio.CancelledError:
            self._call.cancel()
            raise
        finally:
            if self._reader is not None:
                self._reader.stop()
        return self.result()

    def _messages(self) -> Iterator[UploadWorkloadRequest]:
        """Yield the messages, on one of gRPC's threads. If reading the payload fails, cancel the call."""
        try:
            for piece in self._pieces:
                yield self._requests.carrying(piece)
            yield from self._requests.rest()
        except Exception as error:  # noqa: BLE001 - kept for the caller: what is raised here ends in a log of gRPC's
            self._fault = error
            self._started.wait()
            self._call.cancel()


def _tell(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(ended.set)


class _Reader:
    """Iterates in a thread over an asynchronous payload: the event loop reads a piece while the thread waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop, source: AsyncIterable[bytes]) -> None:
        self._loop = loop
        self._pieces = async_pieces(source)
        self._stopped = False
        self._reading: Future[bytes | None] | None = None

    def __iter__(self) -> Iterator[bytes]:
        while not self._stopped:
            self._reading = asyncio.run_coroutine_threadsafe(self._read(), self._loop)
            piece = self._reading.result()
            if piece is None:
                return
            yield piece

    def stop(self) -> None:
        """Stop reading, even if a thread waits for a piece. Must be called in the event loop."""
        self._stopped = True
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> bytes | None:
        return None if self._stopped else await anext(self._pieces, None)
