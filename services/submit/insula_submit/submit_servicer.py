"""SubmitService: the RPCs that accept or refuse payloads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, TypeAlias

import grpc
from google.api.httpbody_pb2 import HttpBody

from insula.errors import InsulaError, InvalidArgument, PayloadTooLarge
from insula.registry import Registration, RegistryCache
from insula.rpc.server import PAYLOAD_BYTES_MAX
from insula.v1 import submit_service_pb2_grpc
from insula.v1.submit_service_pb2 import (
    SubmitWorkloadRequest,
    SubmitWorkloadResponse,
    SubmitWorkloadsRequest,
    SubmitWorkloadsResponse,
    UploadWorkloadRequest,
    UploadWorkloadResponse,
    UploadWorkloadsRequest,
)
from insula_submit.admission import Admission
from insula_submit.batches import Batches
from insula_submit.envelope import NDJSON, Envelope, envelope_of_lines

UploadContext: TypeAlias = grpc.aio.ServicerContext[UploadWorkloadRequest, UploadWorkloadResponse]
Upload: TypeAlias = UploadWorkloadRequest | UploadWorkloadsRequest

REFUSED_BYTES_READ: Final = 8 * 1024 * 1024
"""Maximum bytes of a refused body that are read before the answer. If the body is not read, many HTTP clients get a
connection reset instead of the answer."""
REFUSED_S: Final = 5
"""Longest time for which a refused body is read."""


class SubmitServicer(submit_service_pb2_grpc.SubmitServiceServicer):
    """Finds the registration of the API that a call names. `Admission` or `Batches` then accepts the payloads."""

    def __init__(self, admission: Admission, batches: Batches, apis: RegistryCache) -> None:
        self._admission = admission
        self._batches = batches
        self._apis = apis

    async def SubmitWorkload(
        self,
        request: SubmitWorkloadRequest,
        context: grpc.aio.ServicerContext[SubmitWorkloadRequest, SubmitWorkloadResponse],
    ) -> SubmitWorkloadResponse:
        """Accept one payload in one message. Raises PayloadTooLarge if it has more than PAYLOAD_BYTES_MAX bytes."""
        if len(request.payload) > PAYLOAD_BYTES_MAX:
            raise PayloadTooLarge(PAYLOAD_BYTES_MAX, " for one message; UploadWorkload takes it in pieces")
        api = await self._apis.by_name(request.api)
        envelope = Envelope.read(request.content_type, context.invocation_metadata() or ())
        id = await self._admission.accept(api, envelope, _once(request.payload))
        return SubmitWorkloadResponse(id=id)

    async def UploadWorkload(
        self,
        request_iterator: AsyncIterator[UploadWorkloadRequest],
        context: UploadContext,
    ) -> UploadWorkloadResponse:
        """Accept one payload in pieces. Before a refusal, up to REFUSED_BYTES_READ more bytes of it are read."""
        messages = aiter(request_iterator)
        first = await anext(messages, UploadWorkloadRequest())
        chunks = _data(first, messages, context)
        try:
            api = await self._resolve(first)
            envelope = Envelope.read(first.payload.content_type, context.invocation_metadata() or ())
            id = await self._admission.accept(api, envelope, chunks)
        except InsulaError:
            await _drop(messages)
            raise
        return UploadWorkloadResponse(id=id)

    async def SubmitWorkloads(
        self,
        request_iterator: AsyncIterator[SubmitWorkloadsRequest],
        context: grpc.aio.ServicerContext[SubmitWorkloadsRequest, SubmitWorkloadsResponse],
    ) -> AsyncIterator[SubmitWorkloadsResponse]:
        """Accept the payloads of each message. Yields one response for each message, in order."""
        metadata = [(name, value) for name, value in context.invocation_metadata() or () if name != "idempotency-key"]
        async for response in self._batches.messages(request_iterator, self._apis.by_name, metadata):
            yield response

    async def UploadWorkloads(
        self,
        request_iterator: AsyncIterator[UploadWorkloadsRequest],
        context: grpc.aio.ServicerContext[UploadWorkloadsRequest, HttpBody],
    ) -> AsyncIterator[HttpBody]:
        """Accept each line of a body as a payload. Yields the answers, one line for each, in order.

        Before a refusal of the body, up to REFUSED_BYTES_READ more bytes of it are read.
        """
        messages = aiter(request_iterator)
        first = await anext(messages, UploadWorkloadsRequest())
        content_type = NDJSON  # it is the type of the whole answer, so only the first message has it
        try:
            api = await self._resolve(first)
            envelope = envelope_of_lines(first.payload.content_type, context.invocation_metadata() or ())
            async for answers in self._batches.lines(api, envelope, _pieces(first, messages)):
                yield HttpBody(content_type=content_type, data=answers)
                content_type = ""
        except InsulaError:
            await _drop(messages)
            raise

    async def _resolve(self, first: Upload) -> Registration:
        if bool(first.api) == bool(first.endpoint):
            raise InvalidArgument(
                "the request must name one API: POST to its endpoint, to http://api-<name>:8888/ from a handler, "
                "or set exactly one of api and endpoint in the first message"
            )
        if first.api:
            return await self._apis.by_name(first.api)
        return await self._apis.by_endpoint(first.endpoint)


async def _once(payload: bytes) -> AsyncIterator[bytes]:
    yield payload


async def _data(
    first: UploadWorkloadRequest, messages: AsyncIterator[UploadWorkloadRequest], context: UploadContext
) -> AsyncIterator[bytes]:
    """Yield the pieces of the payload until the client ends the stream. Raises CancelledError if the stream is cut off.

    If a stream is cut off, grpc.aio first reports its end, and the cancellation a moment later. By then, an incomplete
    payload could be accepted. A send on a cut-off stream fails at once. So this function sends the initial metadata,
    which every answer needs, before it returns. If the send succeeds, the payload is complete.
    """
    async for piece in _pieces(first, messages):
        yield piece
    await context.send_initial_metadata(())


async def _pieces(first: Upload, messages: AsyncIterator[Upload]) -> AsyncIterator[bytes]:
    yield first.payload.data
    async for message in messages:
        yield message.payload.data


async def _drop(messages: AsyncIterator[Upload]) -> None:
    dropped_bytes = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(REFUSED_S):
            async for message in messages:
                dropped_bytes += len(message.payload.data)
                if dropped_bytes > REFUSED_BYTES_READ:
                    return
