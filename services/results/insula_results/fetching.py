"""Answers FetchWorkloads: sends many workloads of one API, each when it has ended.

When the `wait` of the request is over, the other workloads are sent in their current state.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, TypeAlias, TypeVar

from google.protobuf.duration_pb2 import Duration

from insula.errors import InsulaError, InvalidArgument, ResourceExhausted, WorkloadNotFound
from insula.ids import is_id
from insula.ledger import Workload, WorkloadLedger
from insula.ledger.ledger import READS_MAX
from insula.ledger.updates import Updates
from insula.registry import RegistryCache
from insula.rpc.statuses import status_of
from insula.stores.objects import ObjectStore
from insula.v1.results_service_pb2 import FetchFailure, FetchWorkloadsRequest, FetchWorkloadsResponse
from insula_results import rendering

WAIT_S_MAX: Final = 60
IDS_MAX: Final = 10_000
CALLS_MAX: Final = 64
"""Maximum number of concurrent FetchWorkloads calls of one process. Each takes up to 5 MiB of memory."""
BUSY_RETRY: Final = timedelta(seconds=1)
RESULT_BYTES_MAX: Final = 1024 * 1024
"""A workload with a larger result is sent without its result."""
MESSAGE_BYTES: Final = 1024 * 1024
"""A message is sent once it has reached this size. The last result in it may exceed this size."""
OBJECTS_AT_ONCE: Final = 4
"""Maximum number of results that a call reads from S3 at the same time."""
RECHECK_S: Final = 5
"""Seconds after which the records of all awaited workloads are read again. Redis may have trimmed an update from the
API's stream of updates."""

T = TypeVar("T")
Found: TypeAlias = tuple[Workload, bytes | InsulaError]
"""A workload, and its result (empty if there is none) or the error of reading the result."""


def wait_s_of(wait: Duration) -> float:
    """Return the wait of a request in seconds. Raises InvalidArgument unless it is 0 to WAIT_S_MAX."""
    wait_s = wait.seconds + wait.nanos / 1e9
    if not 0 <= wait_s <= WAIT_S_MAX:
        raise InvalidArgument(f"wait: must be between 0 and {WAIT_S_MAX} s (got {wait_s:g} s)")
    return wait_s


class Fetching:
    """Answers FetchWorkloads. Reads many records with one command, and waits for updates in the API's stream."""

    def __init__(self, ledger: WorkloadLedger, objects: ObjectStore, apis: RegistryCache, updates: Updates) -> None:
        self._ledger = ledger
        self._objects = objects
        self._apis = apis
        self._updates = updates
        self._calls = 0

    async def fetch(self, request: FetchWorkloadsRequest) -> AsyncIterator[FetchWorkloadsResponse]:
        """Yield the workloads in messages. Raises InvalidArgument, ApiNotFound, ResourceExhausted, StoreUnavailable."""
        if not 1 <= len(request.ids) <= IDS_MAX:
            raise InvalidArgument(f"ids: there must be 1 to {IDS_MAX} (got {len(request.ids)})")
        wait_s, api = wait_s_of(request.wait), (await self._apis.by_name(request.api)).name
        awaited = dict.fromkeys(request.ids)  # in the order of the request
        with self._call():
            if missing := [id for id in awaited if not is_id(id)]:
                yield _missing(api, missing)
            for id in missing:
                del awaited[id]
            if not wait_s:
                async for message in self._read(api, awaited, all_states=True):
                    yield message
                return
            async for message in self._wait(api, awaited, wait_s):
                yield message

    async def _wait(self, api: str, awaited: dict[str, None], wait_s: float) -> AsyncIterator[FetchWorkloadsResponse]:
        """Yield each workload when it has ended, and after `wait_s` the others. `awaited` has their ids."""
        clock = asyncio.get_running_loop().time
        until_s = clock() + wait_s
        async with self._updates.watch_ends(api, awaited) as ends:
            looked_s, ids = clock(), list(awaited)
            while awaited:
                async for message in self._read(api, awaited, ids):
                    yield message
                left_s = until_s - clock()
                if left_s <= 0 or not awaited:
                    break
                ended = await ends.take(min(left_s, RECHECK_S))
                if not ended or clock() - looked_s > RECHECK_S:
                    looked_s, ids = clock(), list(awaited)
                else:  # the first look may have found some of them
                    ids = [id for id in ended if id in awaited]
        async for message in self._read(api, awaited, all_states=True):
            yield message

    async def _read(
        self, api: str, awaited: dict[str, None], ids: Sequence[str] | None = None, *, all_states: bool = False
    ) -> AsyncIterator[FetchWorkloadsResponse]:
        """Yield the workloads of `ids` that have ended, and a failure for each id that has no workload.

        `ids` defaults to all of `awaited`. With `all_states`, waiting and running workloads are yielded too. The ids of
        all that is yielded are removed from `awaited`.
        """
        for some in _batches(list(awaited) if ids is None else ids, READS_MAX):
            found = list(zip(some, await self._ledger.read_many(api, some), strict=True))
            if missing := [id for id, workload in found if workload is None]:
                yield _missing(api, missing)
            workloads = [one for _, one in found if one is not None and (all_states or one.status.ended)]
            for id in (*missing, *(one.id for one in workloads)):
                awaited.pop(id, None)
            async for message in self._messages(workloads):
                yield message

    async def _messages(self, workloads: Sequence[Workload]) -> AsyncIterator[FetchWorkloadsResponse]:
        """Yield the workloads in messages of about MESSAGE_BYTES."""
        message, size_bytes = FetchWorkloadsResponse(), 0
        async for workload, result in self._with_results(workloads):
            if isinstance(result, bytes):
                message.workloads.append(rendering.message(workload, result))
                size_bytes += len(result) + rendering.BYTES_BESIDES_RESULT
            else:
                message.failures.append(FetchFailure(id=workload.id, error=status_of(result)))
            if size_bytes >= MESSAGE_BYTES:
                yield message
                message, size_bytes = FetchWorkloadsResponse(), 0
        if message.workloads or message.failures:
            yield message

    async def _with_results(self, workloads: Iterable[Workload]) -> AsyncIterator[Found]:
        """Yield each workload with its result. Workloads with a result in S3 come last."""
        in_s3: list[tuple[Workload, str]] = []
        for workload in workloads:
            if workload.result is not None and workload.result.object is not None:
                in_s3.append((workload, workload.result.object))
            else:
                yield workload, (workload.result and workload.result.inline) or b""
        for some in _batches(in_s3, OBJECTS_AT_ONCE):
            results = await asyncio.gather(*(self._object(key) for _, key in some))
            for (workload, _), result in zip(some, results, strict=True):
                yield workload, result

    async def _object(self, key: str) -> bytes | InsulaError:
        """Return a result from S3, or the error of reading it. A result over RESULT_BYTES_MAX is returned as b""."""
        result = bytearray()
        try:
            async for chunk in self._objects.read(key):
                result += chunk
                if len(result) > RESULT_BYTES_MAX:
                    return b""
        except InsulaError as error:
            return error
        return bytes(result)

    @contextmanager
    def _call(self) -> Generator[None]:
        if self._calls >= CALLS_MAX:
            raise ResourceExhausted(f"{CALLS_MAX} calls fetch workloads already; try again", BUSY_RETRY)
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1


def _missing(api: str, ids: Iterable[str]) -> FetchWorkloadsResponse:
    failures = [FetchFailure(id=id, error=status_of(WorkloadNotFound(api, id))) for id in ids]
    return FetchWorkloadsResponse(failures=failures)


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
