"""Admission: from a stream of bytes to a workload on disk, or to an error and nothing stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from insula.errors import ContentTypeMissing, InsulaError, InvalidArgument, PayloadTooLarge, StoreUnavailable
from insula.ids import new_id
from insula.keys import payload_object
from insula.ledger import Payload, WorkloadLedger
from insula.objects import ObjectStore
from insula.registry import Registration

INLINE_BYTES_MAX: Final = 32 * 1024
"""Larger payloads go to S3: Redis holds its data in memory, and with every write on disk."""
CONTENT_TYPE_BYTES_MAX: Final = 255


class Admission:
    """Stores payloads and enqueues workloads."""

    def __init__(self, ledger: WorkloadLedger, objects: ObjectStore, *, payload_bytes_max: int) -> None:
        self._ledger = ledger
        self._objects = objects
        self._payload_bytes_max = payload_bytes_max

    async def accept(
        self, api: Registration, content_type: str, chunks: AsyncIterator[bytes], *, traceparent: str = ""
    ) -> str:
        """Enqueue one workload and return its id; when this returns, both are on disk (invariant I1).

        Raises ContentTypeMissing, InvalidArgument, PayloadTooLarge, QueueFull, StoreFull or StoreUnavailable;
        then nothing stays stored.
        """
        if not content_type:
            raise ContentTypeMissing
        if len(content_type.encode()) > CONTENT_TYPE_BYTES_MAX:
            raise InvalidArgument(f'the "Content-Type" header must be at most {CONTENT_TYPE_BYTES_MAX} bytes long')
        id = new_id()
        head, ended = await _read_head(chunks)
        if ended:
            payload = Payload(content_type, size_bytes=len(head), inline=head)
        else:
            await self._ledger.check_room(api.name, queue_limit=api.queue_limit)
            payload = await self._upload(api.name, id, content_type, head, chunks)
        try:
            await self._ledger.submit(api.name, id, payload, queue_limit=api.queue_limit, traceparent=traceparent)
        except StoreUnavailable:  # it may have been accepted for all we know; if not, the sweeper finds the object
            raise
        except InsulaError:
            await self._forget(payload)
            raise
        return id

    async def _upload(self, api: str, id: str, content_type: str, head: bytes, chunks: AsyncIterator[bytes]) -> Payload:
        key = payload_object(api, id)
        await self._ledger.intend_upload(api, key)
        size_bytes = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size_bytes
            async for chunk in _chain(head, chunks):
                size_bytes += len(chunk)
                if size_bytes > self._payload_bytes_max:
                    raise PayloadTooLarge(self._payload_bytes_max)
                yield chunk

        await self._objects.write(key, counted())
        return Payload(content_type, size_bytes=size_bytes, object=key)

    async def _forget(self, payload: Payload) -> None:
        """Delete a refused payload's object; if S3 does not answer, its note in `uploads` is left for the sweeper."""
        if payload.object is not None:
            with suppress(StoreUnavailable):
                await self._objects.delete(payload.object)


async def _read_head(chunks: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """Read until the payload is over INLINE_BYTES_MAX or has ended; returns what was read, and whether it ended."""
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) > INLINE_BYTES_MAX:
            return bytes(head), False
    return bytes(head), True


async def _chain(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk
