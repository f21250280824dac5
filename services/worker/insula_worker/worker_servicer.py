"""WorkerService: returns the state and the log of one worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc

from insula.v1 import worker_service_pb2_grpc
from insula.v1.worker_service_pb2 import (
    DescribeWorkerRequest,
    DescribeWorkerResponse,
    StreamLogsRequest,
    StreamLogsResponse,
)
from insula_worker.logs.ring import LogRing
from insula_worker.worker import Worker


class WorkerServicer(worker_service_pb2_grpc.WorkerServiceServicer):
    """Serves WorkerService for one worker."""

    def __init__(self, worker: Worker, ring: LogRing) -> None:
        self._worker = worker
        self._ring = ring

    async def DescribeWorker(
        self,
        request: DescribeWorkerRequest,
        context: grpc.aio.ServicerContext[DescribeWorkerRequest, DescribeWorkerResponse],
    ) -> DescribeWorkerResponse:
        """Return the worker's current state."""
        return DescribeWorkerResponse(workers=self._worker.describe())

    async def StreamLogs(
        self,
        request: StreamLogsRequest,
        context: grpc.aio.ServicerContext[StreamLogsRequest, StreamLogsResponse],
    ) -> AsyncIterator[StreamLogsResponse]:
        """Stream the latest log lines, of one workload if `workload` is set. With `follow`, stream new lines too."""
        async for line in self._ring.read(follow=request.follow, workload=request.workload):
            yield StreamLogsResponse(line=line)
