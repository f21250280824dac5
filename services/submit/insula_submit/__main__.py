"""Run submit: `python -m insula_submit`. Reads the environment, builds the clients, serves until SIGTERM."""

from __future__ import annotations

import os
from functools import partial

import uvloop

from insula.bundles import Bundles
from insula.ledger import WorkloadLedger
from insula.process.service import run_service
from insula.registry import Registry, RegistryCache
from insula.rpc.server import Server, serve
from insula.stores.objects import ObjectStore
from insula.stores.redis_client import answers, check_durability, connect
from insula.v1 import api_service_pb2_grpc, submit_service_pb2_grpc
from insula_submit.admission import Admission
from insula_submit.api_servicer import ApiServicer
from insula_submit.batches import Batches
from insula_submit.settings import Settings
from insula_submit.submit_servicer import SubmitServicer


async def run(settings: Settings) -> None:
    """Serve SubmitService for callers and ApiService for administrators, each on its own address."""
    redis = connect(settings.stores.redis_url)
    await check_durability(redis, settings.stores.durability)
    stores = settings.stores
    bundles = Bundles(stores.bucket)
    if stores.bucket.socket is None:  # `insula up` has made the bucket
        await bundles.check()
    ledger = WorkloadLedger(redis, settings.stores.policy)
    registry = Registry(redis)

    public = Server(
        settings.listen,
        ["insula.v1.SubmitService"],
        http_socket=settings.http_socket,
        stores_folder=stores.folder,
    )
    objects = ObjectStore(stores.bucket)
    admission = Admission(ledger, objects, payload_bytes_max=settings.payload_bytes_max, stores_folder=stores.folder)
    batches = Batches(admission, body_bytes_max=settings.payload_bytes_max)
    public.add(
        submit_service_pb2_grpc.add_SubmitServiceServicer_to_server,
        SubmitServicer(admission, batches, RegistryCache(registry, tombstones=False)),
    )
    admin = Server(
        settings.admin_listen, ["insula.v1.ApiService"], token=settings.admin_token, stores_folder=stores.folder
    )
    apis = ApiServicer(registry, ledger, bundles, objects)
    admin.add(api_service_pb2_grpc.add_ApiServiceServicer_to_server, apis)
    await serve([public, admin], partial(answers, redis))
    await redis.aclose()


if __name__ == "__main__":
    run_service("submit", os.environ, Settings.read, run, uvloop.run)
