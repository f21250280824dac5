"""Reads payloads from S3 into files, and waits during an outage of S3.

While S3 does not return a payload, the attempt keeps its lease and retries. It occupies no runner, so other attempts
continue. HELD_BYTES_MAX limits the total size of the payloads that a worker holds at the same time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Final, cast

from insula.errors import InsulaError, ObjectUnreadable, StoreUnavailable
from insula.stores.objects import ObjectStore
from insula_worker.backoff import PAUSE_S_MAX, pause_s

log = logging.getLogger(__name__)

PAYLOAD_MEMORY_BYTES: Final = 8 * 1024 * 1024
"""A payload of more bytes is read into a file on disk, a smaller one into a file in memory."""
HELD_BYTES_MAX: Final = 256 * 1024 * 1024
"""Maximum total bytes of the payloads from S3 that a worker holds. A single payload may be larger; it is read when no
other payload is held."""
WAITING_MAX: Final = 16
"""Maximum number of attempts that wait for S3 without reducing the room for claims. They may all read at the same time
when S3 answers again."""


@dataclass(frozen=True)
class Patience:
    """The retry policy for payloads that S3 did not return.

    During an outage of S3, retries have no limit. If S3 answers with errors about one object, retries end after at
    least `errors_min` errors and at least `over_s` seconds.
    """

    pause_s: float = 1.0
    pause_s_max: float = PAUSE_S_MAX
    errors_min: int = 10
    over_s: float = 600.0
    clock: Callable[[], float] = time.monotonic

    def after(self, failures: int) -> float:
        """Return the seconds to wait after this many failures in a row: `pause_s`, then doubled up to `pause_s_max`."""
        return pause_s(failures, first_s=self.pause_s, max_s=self.pause_s_max)

    def is_over(self, errors: int, since_s: float) -> bool:
        """Return whether to end the retries after this many errors about one object.

        `since_s` is the time of the first error, by `clock`.
        """
        return errors >= self.errors_min and self.clock() - since_s >= self.over_s


class PayloadUnreadable(InsulaError):
    """S3 answers, but did not return this payload within the limits of Patience, or its size is wrong."""


class WaitEnded(InsulaError):
    """The attempt no longer waits for S3, because its version is stopping or was replaced. The workload runs again."""


class HeldBytes:
    """Limits the bytes of payloads that are held at the same time. Calls of `hold` proceed in their order."""

    def __init__(self, bytes_max: int = HELD_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._held_bytes = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, size_bytes: int) -> AsyncGenerator[None]:
        """Hold `size_bytes` during the `async with` block. Wait first until there is room, or until nothing is held."""
        async with self._turn:
            while self._held_bytes and self._held_bytes + size_bytes > self._bytes_max:
                self._freed.clear()
                await self._freed.wait()
            self._held_bytes += size_bytes
        try:
            yield
        finally:
            self._held_bytes -= size_bytes
            self._freed.set()


class Payloads:
    """Reads the payloads of one release's attempts."""

    def __init__(self, objects: ObjectStore, changed: Callable[[], None], patience: Patience) -> None:
        """`changed` is called when an attempt begins to wait for S3."""
        self.waiting: Final[set[str]] = set()
        self._objects = objects
        self._changed = changed
        self._patience = patience
        self._leaving = asyncio.Event()

    @property
    def aside(self) -> int:
        """Number of attempts that wait for S3, WAITING_MAX at most. The worker claims as if these did not exist."""
        return min(len(self.waiting), WAITING_MAX)

    def stop_waiting(self) -> None:
        """Raise WaitEnded in every attempt that waits for S3 now or would wait later."""
        self._leaving.set()

    async def read(self, id: str, key: str, size_bytes: int) -> IO[bytes]:
        """Read the payload of the workload `id` from the object `key`, with retries as in Patience.

        Return a file with its `size_bytes` bytes. The caller closes the file.
        Raises ObjectNotFound, PayloadUnreadable, WaitEnded.
        """
        failures, errors, since_s = 0, 0, 0.0
        try:
            while True:
                try:
                    return await self._read(key, size_bytes)
                except StoreUnavailable as error:
                    failures += 1
                    if isinstance(error, ObjectUnreadable):
                        errors += 1
                        since_s = since_s if errors > 1 else self._patience.clock()
                        self._check_patience(errors, since_s, error)
                    again_s = self._patience.after(failures)
                    fields = {"id": id, "error": str(error), "failures": failures, "again_s": again_s}
                    log.warning("payload unavailable, retrying", extra=fields)
                self.waiting.add(id)
                self._changed()
                await self._pause(again_s)
        finally:
            self.waiting.discard(id)

    def _check_patience(self, errors: int, since_s: float, error: ObjectUnreadable) -> None:
        if self._patience.is_over(errors, since_s):
            minutes = (self._patience.clock() - since_s) / 60
            raise PayloadUnreadable(
                f"S3 answered, but did not return the payload, in {errors} reads over {minutes:.0f} minutes; the "
                "payload is kept"
            ) from error

    async def _read(self, key: str, size_bytes: int) -> IO[bytes]:
        file = _file_of(size_bytes)
        read_bytes = 0
        try:
            async for chunk in self._objects.read(key):
                read_bytes += len(chunk)
                if read_bytes <= size_bytes:
                    await _write(file, chunk)
            _check_size(read_bytes, size_bytes)
        except BaseException:
            file.close()
            raise
        return file

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        if self._leaving.is_set():
            raise WaitEnded("the version is stopping or was replaced, so its attempts no longer wait for S3")


def _check_size(read_bytes: int, size_bytes: int) -> None:
    if read_bytes != size_bytes:
        raise PayloadUnreadable(f"the stored payload has {read_bytes} bytes, not the {size_bytes} bytes of its record")


def _file_of(size_bytes: int) -> IO[bytes]:
    """Return an empty file without a name for `size_bytes` bytes, in memory or on disk.

    Raises StoreUnavailable if the file cannot be created.
    """
    try:
        if size_bytes > PAYLOAD_MEMORY_BYTES:
            return cast("IO[bytes]", TemporaryFile(buffering=0))
        return os.fdopen(os.memfd_create("payload"), "w+b", buffering=0)
    except OSError as error:
        raise _no_file(error) from error


def _no_file(error: OSError) -> StoreUnavailable:
    return StoreUnavailable("disk", str(error), summary="the payload cannot be kept on this machine")


async def _write(file: IO[bytes], chunk: bytes) -> None:
    """Write in a thread. Raises StoreUnavailable if this machine's disk is full, so that the read is retried."""
    try:
        await asyncio.to_thread(_write_all, file.fileno(), chunk)
    except OSError as error:
        raise _no_file(error) from error


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
