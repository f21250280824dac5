"""WorkerService: what a worker says of itself."""

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
    """Answers for one worker."""

    def __init__(self, worker: Worker, ring: LogRing) -> None:
        self._worker = worker
        self._ring = ring

    async def DescribeWorker(
        self,
        request: DescribeWorkerRequest,
        context: grpc.aio.ServicerContext[DescribeWorkerRequest, DescribeWorkerResponse],
    ) -> DescribeWorkerResponse:
        """The worker now."""
        return DescribeWorkerResponse(workers=self._worker.describe())

    async def StreamLogs(
        self,
        request: StreamLogsRequest,
        context: grpc.aio.ServicerContext[StreamLogsRequest, StreamLogsResponse],
    ) -> AsyncIterator[StreamLogsResponse]:
        """The latest lines, and those to come."""
        async for line in self._ring.read(follow=request.follow, workload=request.workload):
            yield StreamLogsResponse(line=line)
