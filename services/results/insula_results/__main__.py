"""Run results: `python -m insula_results`. Reads the environment, builds the clients, serves until SIGTERM."""

from __future__ import annotations

import asyncio
import os
from functools import partial

import uvloop

from insula.bundles import Bundles
from insula.ledger import WorkloadLedger
from insula.ledger.in_flight import InFlightMeter
from insula.ledger.retention import Retention
from insula.ledger.updates import Updates
from insula.process.service import run_service
from insula.registry import Registry, RegistryCache
from insula.rpc.server import Server, serve
from insula.stores.objects import ObjectStore
from insula.stores.redis_client import answers, check_durability, connect, connect_blocking
from insula.telemetry.metrics import MetricsServer, Telemetry
from insula.v1 import results_service_pb2_grpc
from insula.v1.submit_service_pb2 import DESCRIPTOR as SUBMIT
from insula_results.bundle_sweeper import sweep_bundles
from insula_results.queue_gauges import QueueGauges
from insula_results.results_servicer import ResultsServicer
from insula_results.settings import Settings
from insula_results.sweeper import CALLS_MAX, Sweeper


async def run(settings: Settings) -> None:
    """Serve ResultsService and delete old data until SIGTERM. Also serve KEDA's scaler if its address is set."""
    redis, blocking_redis = connect(settings.stores.redis_url), connect_blocking(settings.stores.redis_url)
    await check_durability(redis, settings.stores.durability)
    stores = settings.stores
    objects = ObjectStore(stores.bucket)  # not checked: small results are served without S3
    ledger = WorkloadLedger(redis, settings.stores.policy)
    registry = Registry(redis)

    # The edge sends reflection here, so this process describes both services that the edge lets through.
    described = ["insula.v1.ResultsService", SUBMIT.services_by_name["SubmitService"].full_name]
    server = Server(settings.listen, described, http_socket=settings.http_socket, stores_folder=stores.folder)
    apis, updates = RegistryCache(registry, tombstones=True), Updates(blocking_redis)
    servicer = ResultsServicer(ledger, objects, apis, updates)
    server.add(results_service_pb2_grpc.add_ResultsServiceServicer_to_server, servicer)
    servers = [server]
    if settings.scaler_listen is not None:
        servers.append(_scaler(settings.scaler_listen, apis, InFlightMeter(redis), updates))
    scrapes: MetricsServer | None = None
    if settings.metrics_listen is not None:
        telemetry = Telemetry()
        gauges = QueueGauges(telemetry, registry, ledger)
        scrapes = MetricsServer(settings.metrics_listen, telemetry, gauges.look)
        await scrapes.start()
    sweepers_objects = ObjectStore(stores.bucket, calls_max=CALLS_MAX)
    sweeper = Sweeper(registry, ledger, Retention(redis, settings.stores.policy), sweepers_objects)
    async with asyncio.TaskGroup() as group:  # a sweeper that fails ends the service, so that the fault is noticed
        sweeps = [
            group.create_task(sweeper.run_for_ever()),
            group.create_task(sweep_bundles(Bundles(stores.bucket), registry)),
        ]
        await serve(servers, partial(answers, redis))
        for sweep in sweeps:
            sweep.cancel()
    if scrapes is not None:
        await scrapes.stop()
    await redis.aclose()
    await blocking_redis.aclose()


def _scaler(listen: str, apis: RegistryCache, meter: InFlightMeter, updates: Updates) -> Server:
    """Return the gRPC server of KEDA's scaler. The imports are here, because only a cluster with KEDA needs them."""
    from insula.externalscaler import externalscaler_pb2_grpc
    from insula.externalscaler.externalscaler_pb2 import DESCRIPTOR
    from insula_results.scaler_servicer import ScalerServicer

    scaler = Server(listen, [DESCRIPTOR.services_by_name["ExternalScaler"].full_name])
    servicer = ScalerServicer(apis, meter, updates, scaler.stopping)
    scaler.add(externalscaler_pb2_grpc.add_ExternalScalerServicer_to_server, servicer)
    return scaler


if __name__ == "__main__":
    run_service("results", os.environ, Settings.read, run, uvloop.run)
