"""Run a worker: `python -m insula_worker`. Reads the environment, builds the clients, works until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from contextlib import AsyncExitStack

from insula.cache import ENVIRONMENTS
from insula.process.isolation import Isolation, find_sandbox
from insula.process.reaper import run_below_process_1
from insula.process.service import hide_from_others, run_service
from insula.rpc.server import Server, on_stop_signal
from insula.stores.objects import ObjectStore
from insula.stores.redis_client import connect, connect_blocking
from insula.telemetry.metrics import MetricsServer, Telemetry
from insula.v1 import worker_service_pb2_grpc
from insula_worker.logs.worker_log import WorkerLog, WorkerLogHandler
from insula_worker.metrics import HandlerMetrics, WorkerMetrics
from insula_worker.release import remove_leftovers
from insula_worker.runners.observers import Observers
from insula_worker.runners.process import labels
from insula_worker.settings import Settings
from insula_worker.view import ViewSettings
from insula_worker.worker import Worker
from insula_worker.worker_servicer import WorkerServicer


def raise_file_limit() -> None:
    """Raise the limit of open files to the hard limit: each handler process and each payload from S3 opens files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run(settings: Settings) -> None:
    """Run the worker of one API, and serve WorkerService. If Redis is unavailable, the worker waits for it."""
    raise_file_limit()
    stopping = asyncio.Event()
    on_stop_signal(stopping.set)
    log = WorkerLog(labels(settings.api))
    logging.getLogger().handlers[:] = [WorkerLogHandler(log, labels(settings.api))]
    await asyncio.to_thread(remove_leftovers, settings.scratch)
    views = await asyncio.to_thread(look, settings)
    redis, blocking_redis = connect(settings.stores.redis_url), connect_blocking(settings.stores.redis_url)
    server = Server(settings.listen, ["insula.v1.WorkerService"], token=settings.admin_token)
    async with AsyncExitStack() as ending:
        ending.callback(log.close)
        ending.push_async_callback(redis.aclose)
        ending.push_async_callback(blocking_redis.aclose)
        observers = Observers(log)
        metrics: WorkerMetrics | None = None
        if settings.metrics_listen is not None:
            telemetry = Telemetry()
            metrics = WorkerMetrics(telemetry, settings.api, log)
            observers = Observers(log, HandlerMetrics(telemetry).record, metrics.ended)
            scrapes = MetricsServer(settings.metrics_listen, telemetry, metrics.look)
            await scrapes.start()
            ending.push_async_callback(scrapes.stop)
        objects = ObjectStore(settings.stores.bucket)
        worker = Worker(settings, redis, blocking_redis, objects, server, observers, views)
        if metrics is not None:
            metrics.observe_active(lambda: sum(one.running for one in worker.describe()))
        worker_service_pb2_grpc.add_WorkerServiceServicer_to_server(WorkerServicer(worker, log.ring), server.grpc)
        await server.start()
        ending.push_async_callback(server.stop)
        ending.callback(log.ring.close)
        await worker.run(stopping)


def look(settings: Settings) -> ViewSettings:
    """Detect which isolation of handlers this machine supports, and log what is missing.

    Raises IsolationMissing if the settings require what is missing.
    """
    sandbox = find_sandbox(settings.isolation, settings.cache / ENVIRONMENTS)
    if sandbox.missing:
        logging.getLogger(__name__).warning("handler isolation incomplete", extra={"missing": sandbox.missing})
    return ViewSettings(
        sandbox=sandbox,
        api=settings.api,
        scratch=settings.scratch,
        hidden=settings.hidden,
        hosts=settings.hosts_file,
        confined=settings.isolation is not Isolation.OFF,
    )


if __name__ == "__main__":
    run_below_process_1(hide_from_others)
    run_service("worker", os.environ, Settings.read, run, asyncio.run)
