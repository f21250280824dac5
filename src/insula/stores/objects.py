"""Payloads, results and bundles in S3. They are streamed, so memory does not depend on their size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from insula.errors import NotFound, ObjectUnreadable, StoreUnavailable

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedMultipartUploadTypeDef, CompletedPartTypeDef

T = TypeVar("T")

PART_BYTES: Final = 5 * 1024 * 1024
"""Size of a multipart upload's parts: the minimum of S3. Each upload holds one part in memory. S3 allows 10,000 parts,
so an object may have 48 GiB."""
CHUNK_BYTES: Final = 1024 * 1024
"""Greatest size of the pieces that `read` yields."""
CALLS_MAX: Final = 16
"""Most S3 calls at the same time. Each has a thread."""


ADDRESSING: Final = ("auto", "path", "virtual")
"""How a request names the bucket: as boto3 chooses, in the path of the URL, or in the host name."""


@dataclass(frozen=True)
class Bucket:
    """A bucket, and settings that boto3 does not read from AWS_*. `socket` is a Unix socket, used in place of TCP."""

    name: str
    addressing: str = ADDRESSING[0]
    socket: Path | None = None


class ObjectNotFound(NotFound):
    """The object does not exist."""


class ObjectStore:
    """The objects of one bucket. Every method raises StoreUnavailable if S3 does not answer or refuses the request."""

    def __init__(self, bucket: Bucket, *, calls_max: int = CALLS_MAX) -> None:
        """The objects are in `bucket`. The variables AWS_* set the endpoint, the region and the credentials of S3."""
        self._bucket = bucket.name
        self._addressing = bucket.addressing
        self._socket = bucket.socket
        self._calls = asyncio.Semaphore(calls_max)

    @cached_property
    def _s3(self) -> S3Client:
        """The client, created at the first use: boto3 takes 27 MB, and a read of a small result does not need it."""
        from botocore.config import Config

        from insula.stores import s3

        addressing: Any = {"addressing_style": self._addressing}  # the stubs want a literal
        config = Config(
            connect_timeout=2,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 4},
            max_pool_connections=CALLS_MAX,
            s3=addressing,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            return s3.client(config, self._socket)
        except ValueError as error:
            raise StoreUnavailable("S3", f"ValueError: {error}", summary="S3 was not called") from error

    async def check(self) -> None:
        """Raise StoreUnavailable unless the bucket can be reached."""
        try:
            await self._call(lambda: self._s3.head_bucket(Bucket=self._bucket))
        except ObjectNotFound as error:
            raise StoreUnavailable("S3", str(error), summary=f"S3 has no bucket {self._bucket}") from error

    async def write(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Store chunks of any size as one object: the whole object or nothing. Holds one part in memory."""
        upload_id = ""
        etags: list[CompletedPartTypeDef] = []
        try:
            async for part, is_last in _parts(chunks):
                if is_last and not etags:
                    await self._call(partial(self._put, key, part))
                    return
                upload_id = upload_id or await self._call(partial(self._begin, key))
                etags.append(await self._call(partial(self._upload_part, key, upload_id, len(etags) + 1, part)))
                del part  # before the next part is collected
            await self._call(partial(self._complete, key, upload_id, etags))
        except BaseException:  # also when cancelled, because S3 keeps an unfinished upload until it is aborted
            if upload_id:
                with suppress(StoreUnavailable):
                    await asyncio.shield(self._call(partial(self._abort, key, upload_id)))
            raise

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """Yield the object in pieces of up to CHUNK_BYTES.

        Raises ObjectNotFound. Raises ObjectUnreadable if S3 does not return this object but the bucket is available.
        """
        try:
            body = (await self._call(lambda: self._s3.get_object(Bucket=self._bucket, Key=key)))["Body"]
            try:
                while chunk := await self._call(lambda: body.read(CHUNK_BYTES)):
                    yield chunk
            finally:
                body.close()
        except StoreUnavailable as error:
            if _is_overloaded(error.__cause__):
                raise
            await self.check()
            raise ObjectUnreadable(str(error)) from error

    async def delete(self, key: str) -> None:
        """Delete the object, if it exists."""
        with suppress(ObjectNotFound):  # Amazon S3 reports no such error, others do
            await self._call(lambda: self._s3.delete_object(Bucket=self._bucket, Key=key))

    async def written(self, prefix: str) -> dict[str, datetime]:
        """Return every key that starts with `prefix`, with the time of its last write."""

        def read() -> dict[str, datetime]:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            items = (item for page in pages for item in page.get("Contents", []))
            return {key: at for item in items if (key := item.get("Key")) and (at := item.get("LastModified"))}

        return await self._call(read)

    async def keys(self, prefix: str) -> set[str]:
        """Return every key that starts with `prefix`, including keys of unfinished uploads."""
        return {*await self.written(prefix), *(key for key, _ in await self._unfinished(prefix))}

    async def delete_all(self, prefix: str) -> None:
        """Delete every object whose key starts with `prefix`, and abort unfinished uploads of such keys."""
        for key in await self.written(prefix):
            await self.delete(key)
        for key, upload_id in await self._unfinished(prefix):
            await self._call(partial(self._abort, key, upload_id))

    async def abort_uploads(self, prefix: str, keys: Collection[str]) -> None:
        """Abort unfinished uploads of `keys`, which start with `prefix`. Lists the uploads once, not for each key."""
        for key, upload_id in await self._unfinished(prefix):
            if key in keys:
                await self._call(partial(self._abort, key, upload_id))

    async def _unfinished(self, prefix: str) -> list[tuple[str, str]]:
        """Return key and id of each upload that is neither completed nor aborted."""

        def read() -> list[tuple[str, str]]:
            pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=prefix)
            uploads = (upload for page in pages for upload in page.get("Uploads", []))
            return [(upload.get("Key", ""), upload.get("UploadId", "")) for upload in uploads]

        return await self._call(read)

    def _put(self, key: str, body: bytes) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)

    def _begin(self, key: str) -> str:
        return self._s3.create_multipart_upload(Bucket=self._bucket, Key=key)["UploadId"]

    def _upload_part(self, key: str, upload_id: str, number: int, part: bytes) -> CompletedPartTypeDef:
        reply = self._s3.upload_part(Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=part)
        return {"ETag": reply["ETag"], "PartNumber": number}

    def _complete(self, key: str, upload_id: str, etags: list[CompletedPartTypeDef]) -> None:
        parts: CompletedMultipartUploadTypeDef = {"Parts": etags}
        self._s3.complete_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id, MultipartUpload=parts)

    def _abort(self, key: str, upload_id: str) -> None:
        with suppress(self._s3.exceptions.NoSuchUpload):  # another process was faster
            self._s3.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)

    async def _call(self, call: Callable[[], T]) -> T:
        async with self._calls:
            return await asyncio.to_thread(_translated, call)


def _translated(call: Callable[[], T]) -> T:
    """Run the call. Raise its errors as ObjectNotFound or StoreUnavailable. It blocks, so it runs in a thread."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, SSLError

    try:
        return call()
    except ClientError as error:
        # A reply to HEAD has no body, so the code is "404". A missing bucket has another code: it is a wrong set-up.
        if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
            raise ObjectNotFound(str(error)) from error
        advice = "; check the keys, and what their policy allows" if _status(error) == 403 else ""
        raise StoreUnavailable("S3", f"{error}{advice}", summary="S3 refused the request") from error
    except NoCredentialsError as error:
        advice = "set them in AWS_*, name a file in AWS_SHARED_CREDENTIALS_FILE, or give the process a role"
        raise StoreUnavailable("S3", f"{error}; {advice}", summary="there are no keys for S3") from error
    except SSLError as error:
        advice = "set AWS_CA_BUNDLE if a CA of your own has signed its certificate"
        raise StoreUnavailable("S3", f"{error}; {advice}", summary="S3 cannot be reached over TLS") from error
    except (BotoCoreError, OSError) as error:
        raise StoreUnavailable("S3", str(error)) from error


def _is_overloaded(cause: BaseException | None) -> bool:
    """Whether the cause of an error is an overloaded S3, and not the object that was read."""
    from botocore.exceptions import ClientError

    return isinstance(cause, ClientError) and _status(cause) in (429, 503)


def _status(error: ClientError) -> int | None:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")


async def _parts(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bool]]:
    """Join chunks of any size into parts of PART_BYTES, or up to a chunk more. Yield each, and whether it is the last.

    The last part may be shorter. An empty object has one empty part. Memory holds one part and one chunk.
    """
    gathered, gathered_bytes = list[bytes](), 0
    async for chunk in chunks:
        if gathered_bytes >= PART_BYTES:
            part, gathered, gathered_bytes = b"".join(gathered), list[bytes](), 0
            yield part, False
            del part
        gathered.append(chunk)
        gathered_bytes += len(chunk)
    yield b"".join(gathered), True
