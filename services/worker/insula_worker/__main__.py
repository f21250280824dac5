"""Run a worker: `python -m insula_worker`. Reads the environment, builds the clients, works until SIGTERM."""

from __future__ import annotations

import asyncio
import os

from insula.objects import ObjectStore
from insula.process import run_service
from insula.redis_client import connect, connect_blocking
from insula.server import Server, on_stop_signal
from insula.v1 import worker_service_pb2_grpc
from insula_worker.settings import Settings
from insula_worker.worker import Worker
from insula_worker.worker_servicer import WorkerServicer


async def run(settings: Settings) -> None:
    """Work for one API, and serve WorkerService meanwhile. Redis may be away: then the worker waits for it."""
    stopping = asyncio.Event()
    on_stop_signal(stopping.set)
    redis, blocking_redis = connect(settings.stores.redis_url), connect_blocking(settings.stores.redis_url)
    server = Server(settings.listen, ["insula.v1.WorkerService"])
    worker = Worker(settings, redis, blocking_redis, ObjectStore(settings.stores.bucket), server)
    worker_service_pb2_grpc.add_WorkerServiceServicer_to_server(WorkerServicer(worker), server.grpc)
    await server.start()
    await worker.run(stopping)
    await server.stop()
    await redis.aclose()
    await blocking_redis.aclose()


if __name__ == "__main__":
    run_service("worker", os.environ, Settings.read, run)
