"""Admission: turns a stream of bytes into a workload on disk, or refuses it and stores nothing."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from insula.errors import InsulaError, PayloadTooLarge, QueueFull, StorageFull, StoreUnavailable
from insula.ids import new_id
from insula.ledger import Idempotency, Payload, WorkloadLedger
from insula.registry import Registration
from insula.stores.disk import room_of
from insula.stores.object_keys import payload_object
from insula.stores.objects import ObjectStore
from insula_submit.encodings import decompressed
from insula_submit.envelope import Envelope

INLINE_BYTES_MAX: Final = 32 * 1024
"""Larger payloads go to S3: Redis holds its data in memory, and writes each change to disk."""


class Admission:
    """Stores payloads and enqueues workloads."""

    def __init__(
        self, ledger: WorkloadLedger, objects: ObjectStore, *, payload_bytes_max: int, stores_folder: Path | None
    ) -> None:
        """`stores_folder` is on the disk of Redis and S3, whose free space is checked; None if they are elsewhere."""
        self._ledger = ledger
        self._stores_folder = stores_folder
        self._objects = objects
        self._payload_bytes_max = payload_bytes_max
        self._depths: dict[str, int] = {}  # API -> workloads in its queue at the last submit

    async def accept(self, api: Registration, envelope: Envelope, chunks: AsyncIterator[bytes]) -> str:
        """Enqueue one workload and return its id. When this returns, payload and workload are on disk (invariant I1).

        A gzip is decompressed first: limit, digest and record are those of the decompressed payload. Raises
        EncodingInvalid, PayloadTooLarge, QueueFull, StoreFull, IdempotencyConflict or StoreUnavailable; then nothing
        stays stored.
        """
        self._check_disk()
        if self._depths.get(api.name, 0) >= api.queue_limit:  # refuse before reading the body, if possible
            await self._check_room(api, envelope)
        id, digest = new_id(), hashlib.sha256(envelope.content_type.encode() + b"\0")

        async def hashed() -> AsyncIterator[bytes]:
            async for chunk in decompressed(chunks) if envelope.is_gzip else chunks:
                digest.update(chunk)
                yield chunk

        body = hashed()
        head, ended = await _read_head(body)
        if ended:
            payload = Payload(envelope.content_type, size_bytes=len(head), inline=head)
        else:
            await self._check_room(api, envelope)
            payload = await self._upload(api, payload_object(api.name, id), envelope.content_type, _chain(head, body))
        return await self._submit(api, id, payload, envelope, digest.hexdigest())

    def _check_disk(self) -> None:
        """Raise StorageFull if the free space is reserved for accepted workloads: a failed write would end Valkey."""
        if self._stores_folder is not None and room_of(self._stores_folder).spent:
            raise StorageFull

    async def _check_room(self, api: Registration, envelope: Envelope) -> None:
        """Raise QueueFull, unless the request repeats an accepted one: a repetition needs no room."""
        try:
            await self._ledger.check_room(api.name, queue_limit=api.queue_limit)
        except QueueFull:
            if not envelope.idempotency_key or not await self._ledger.remembers(api.name, envelope.idempotency_hash):
                raise

    async def _submit(self, api: Registration, id: str, payload: Payload, envelope: Envelope, digest: str) -> str:
        idempotency = None
        if envelope.idempotency_key:
            idempotency = Idempotency(envelope.idempotency_hash, digest)
        try:
            accepted = await self._ledger.submit(
                api.name,
                id,
                payload,
                queue_limit=api.queue_limit,
                traceparent=envelope.traceparent,
                idempotency=idempotency,
            )
        except StoreUnavailable:  # it may have been accepted; if not, the sweeper deletes the object
            raise
        except InsulaError:
            await self._forget(api.name, payload)
            raise
        self._depths[api.name] = accepted.depth
        if accepted.id != id:
            await self._forget(api.name, payload)
        return accepted.id

    async def _upload(self, api: Registration, key: str, content_type: str, chunks: AsyncIterator[bytes]) -> Payload:
        await self._ledger.intend_upload(api.name, key)
        size_bytes = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size_bytes
            async for chunk in chunks:
                size_bytes += len(chunk)
                if size_bytes > self._payload_bytes_max:
                    raise PayloadTooLarge(self._payload_bytes_max)
                self._check_disk()
                yield chunk

        await self._objects.write(key, counted())
        return Payload(content_type, size_bytes=size_bytes, object=key)

    async def _forget(self, api: str, payload: Payload) -> None:
        """Delete the S3 object of a refused payload. If that fails, the sweeper deletes it, by its record in Redis."""
        if payload.object is not None:
            with suppress(StoreUnavailable):
                await self._objects.delete(payload.object)
                await self._ledger.withdraw_upload(api, payload.object)


async def _read_head(chunks: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """Read until the payload is over INLINE_BYTES_MAX or has ended. Returns the bytes, and whether it ended."""
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
