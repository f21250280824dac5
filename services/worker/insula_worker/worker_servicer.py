"""WorkerService: what a worker says of itself."""

from __future__ import annotations

import grpc

from insula.v1 import worker_service_pb2_grpc
from insula.v1.worker_service_pb2 import DescribeWorkerRequest, DescribeWorkerResponse
from insula_worker.worker import Worker


class WorkerServicer(worker_service_pb2_grpc.WorkerServiceServicer):
    """Answers for one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def DescribeWorker(
        self,
        request: DescribeWorkerRequest,
        context: grpc.aio.ServicerContext[DescribeWorkerRequest, DescribeWorkerResponse],
    ) -> DescribeWorkerResponse:
        """The worker now."""
        return DescribeWorkerResponse(workers=self._worker.describe())
