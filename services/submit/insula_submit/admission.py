"""Admission: stores a payload and its workload on disk, or refuses the payload."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from insula.errors import InsulaError, PayloadTooLarge, QueueFull, StorageFull, StoreUnavailable
from insula.ids import new_id
from insula.ledger import Accepted, Idempotency, Payload, Submission, WorkloadLedger
from insula.ledger.ledger import SUBMISSIONS_MAX
from insula.registry import Registration
from insula.rpc.statuses import named
from insula.stores.disk import room_of
from insula.stores.object_keys import payload_object
from insula.stores.objects import ObjectStore
from insula_submit.encodings import decompressed
from insula_submit.envelope import Envelope

INLINE_BYTES_MAX: Final = 32 * 1024
"""Larger payloads are stored in S3, because Redis holds its data in memory and writes each change to disk."""
BATCH_UPLOADS_MAX: Final = 8
"""Largest number of payloads of batches that one process writes to S3 at the same time."""

Answer: TypeAlias = str | InsulaError
"""The answer to one payload of a batch: the id of its workload, or why it was refused."""


class Admission:
    """Stores payloads and enqueues workloads."""

    def __init__(
        self, ledger: WorkloadLedger, objects: ObjectStore, *, payload_bytes_max: int, stores_folder: Path | None
    ) -> None:
        """`stores_folder` is on the disk of Redis and S3: the disk's free space is checked. None means no check."""
        self._ledger = ledger
        self._stores_folder = stores_folder
        self._objects = objects
        self._payload_bytes_max = payload_bytes_max
        self._batch_uploads = asyncio.Semaphore(BATCH_UPLOADS_MAX)
        self._depths: dict[str, int] = {}  # API -> workloads in its queue at the last submit

    async def accept(self, api: Registration, envelope: Envelope, chunks: AsyncIterator[bytes]) -> str:
        """Enqueue one workload and return its id. When this returns, payload and workload are on disk (invariant I1).

        Decompresses gzip first. The size limit, the digest of the request and the record are for the decompressed
        payload. Raises EncodingInvalid, PayloadTooLarge, QueueFull, StoreFull, IdempotencyConflict or ApiNotFound; then
        no workload is stored. Raises StoreUnavailable; then the workload may have been stored.
        """
        self._check_disk()
        if self._depths.get(api.name, 0) >= api.queue_limit:  # refuse before reading the body, if possible
            await self._check_room(api, envelope)
        id, digest = new_id(), hashlib.sha256(envelope.digested_first)

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

    async def accept_many(
        self, api: Registration, envelope: Envelope, payloads: Sequence[bytes], first_number: int
    ) -> list[Answer]:
        """Enqueue a workload for each payload, and return the answers in order. Raises no InsulaError.

        The Idempotency-Key of `envelope` and the number of a payload identify it together. The first payload has the
        number `first_number`.
        """
        answers: list[Answer] = [""] * len(payloads)

        async def accept_small(indexes: Sequence[int]) -> None:
            chosen = [(payloads[index], first_number + index) for index in indexes]
            for index, answer in zip(indexes, await self._submit_many(api, envelope, chosen), strict=True):
                answers[index] = answer

        async def accept_large(index: int) -> None:
            async with self._batch_uploads:
                numbered = envelope.numbered(first_number + index)
                answers[index] = await self.accept_alone(api, numbered, _once(payloads[index]))

        large = {i for i, payload in enumerate(payloads) if len(payload) > INLINE_BYTES_MAX or envelope.is_gzip}
        small = [i for i in range(len(payloads)) if i not in large] if large else range(len(payloads))
        runs = [small[start : start + SUBMISSIONS_MAX] for start in range(0, len(small), SUBMISSIONS_MAX)]
        async with asyncio.TaskGroup() as group:
            for run in runs:
                group.create_task(accept_small(run))
            for index in large:
                group.create_task(accept_large(index))
        return answers

    async def accept_alone(self, api: Registration, envelope: Envelope, chunks: AsyncIterator[bytes]) -> Answer:
        """Enqueue one payload of a batch, as `accept` does, and return the answer. Raises no InsulaError."""
        try:
            return await self.accept(api, envelope, chunks)
        except InsulaError as error:
            return self._named(error)

    async def _submit_many(
        self, api: Registration, envelope: Envelope, payloads: Sequence[tuple[bytes, int]]
    ) -> Sequence[Answer]:
        """Enqueue workloads with small payloads, which Redis stores. A payload comes with its number in the batch."""
        submissions: list[Submission] = []
        for payload, number in payloads:
            idempotency = None
            if envelope.idempotency_key:
                digest = hashlib.sha256(envelope.digested_first + payload).hexdigest()
                idempotency = Idempotency(envelope.numbered(number).idempotency_hash, digest)
            stored = Payload(envelope.content_type, size_bytes=len(payload), inline=payload)
            submissions.append(Submission(new_id(), stored, idempotency))
        try:
            self._check_disk()
            answers = await self._ledger.submit_many(
                api.name, submissions, queue_limit=api.queue_limit, traceparent=envelope.traceparent
            )
        except InsulaError as error:
            return [self._named(error)] * len(submissions)
        return [answer.id if isinstance(answer, Accepted) else answer for answer in answers]

    def _named(self, error: InsulaError) -> InsulaError:
        """Return StorageFull if the error is StoreUnavailable and the disk is full, else the error."""
        return named(error, self._stores_folder)

    def _check_disk(self) -> None:
        """Raise StorageFull if all free space of the disk is reserved for accepted workloads.

        The reserve is needed because Valkey ends if it cannot write.
        """
        if self._stores_folder is not None and room_of(self._stores_folder).spent:
            raise StorageFull

    async def _check_room(self, api: Registration, envelope: Envelope) -> None:
        """Raise QueueFull if the queue is full, unless a request with this Idempotency-Key was accepted already."""
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
        """Delete the S3 object of a payload, if any. If S3 or Redis is unavailable, the sweeper deletes it later."""
        if payload.object is not None:
            with suppress(StoreUnavailable):
                await self._objects.delete(payload.object)
                await self._ledger.withdraw_upload(api, payload.object)


async def _read_head(chunks: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """Read until the payload is over INLINE_BYTES_MAX or ends. Returns the bytes, and whether the payload ended."""
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) > INLINE_BYTES_MAX:
            return bytes(head), False
    return bytes(head), True


async def _once(payload: bytes) -> AsyncIterator[bytes]:
    yield payload


async def _chain(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk
