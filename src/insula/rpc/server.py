"""A gRPC server: start, health, reflection and graceful stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from insula.errors import InsulaError
from insula.rpc.admin import TokenInterceptor
from insula.rpc.http1 import HttpServer
from insula.rpc.statuses import ErrorInterceptor

log = logging.getLogger(__name__)

Servicer = TypeVar("Servicer")
PAYLOAD_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest payload in one message. A larger payload is sent in pieces."""
MESSAGE_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + 64 * 1024
"""Largest message: the payload and the other fields. gRPC refuses a larger message with RESOURCE_EXHAUSTED before it
reads the message. The edge replaces this error by PAYLOAD_TOO_LARGE."""
METADATA_BYTES_MAX: Final = 128 * 1024
"""Most metadata of a call. It is more than the 60 KiB of headers that Envoy allows. With gRPC's default of 8 KiB,
gRPC would refuse some of these calls with RESOURCE_EXHAUSTED."""
LIVENESS: Final = "liveness"
"""Name of the health service that is SERVING while the process need not be restarted. The health service "" is the
readiness: it is NOT_SERVING while the process cannot answer calls, for example if Redis is down (guarantee I12)."""
READY_EVERY_S: Final = 2.0
KEEPALIVE_MS: Final = 20_000
KEEPALIVE_TIMEOUT_MS: Final = 10_000
"""A peer that sends nothing for KEEPALIVE_MS gets a ping. If it does not reply within KEEPALIVE_TIMEOUT_MS, its
connection is closed."""
GRACE: Final = timedelta(seconds=5)
"""How long running calls may take after a stop is requested."""


class PortTaken(InsulaError):
    """The server cannot listen at its address."""

    def __init__(self, address: str) -> None:
        super().__init__(f"cannot listen on {address}: it is taken, or not an address of this machine")


class Server:
    """A server at one address, with its services, health and reflection."""

    def __init__(
        self,
        address: str,
        services: Sequence[str],
        *,
        http_socket: Path | None = None,
        token: str | None = None,
        stores_folder: Path | None = None,
    ) -> None:
        """`address` is host:port or unix:PATH. `services` are the full names of the services that reflection describes.

        On `http_socket` the edge calls the same servicers over HTTP/1.1, see insula.rpc.http1. With a `token`, every
        call except the health service's must send it; HTTP/1.1 has no tokens. For `stores_folder` see ErrorInterceptor.
        """
        assert token is None or http_socket is None, "an admin service needs its token"
        self.address: Final = address
        self.stopping: Final = asyncio.Event()
        """Set when the server begins to stop. A servicer's stream that would not end by itself must then return."""
        self._health = health_aio.HealthServicer()
        tokens = [TokenInterceptor(token)] if token is not None else []
        errors = ErrorInterceptor(stores_folder)
        self._http = HttpServer(http_socket, errors.wrapped) if http_socket is not None else None
        self.grpc: Final = grpc.aio.server(
            interceptors=[errors, *tokens],
            options=[
                ("grpc.so_reuseport", 0),
                # With probes, each connection's window grows to the bandwidth-delay product, and its data is in memory.
                ("grpc.http2.bdp_probe", 0),
                # Callers share the edge's connections. gRPC keeps malformed metadata in this table, and then refuses
                # calls of other callers that send metadata of the same name.
                ("grpc.http2.hpack_table_size.decoder", 0),
                # Pings end the calls of a peer whose host is gone, such as an upload, which holds memory. Envoy and our
                # clients also send pings. By default gRPC closes a connection with more than one ping in 5 minutes.
                ("grpc.keepalive_time_ms", KEEPALIVE_MS),
                ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.max_ping_strikes", 0),
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_metadata_size", METADATA_BYTES_MAX),
                ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
                ("grpc.max_send_message_length", -1),  # the runner limits the size of results
            ],
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        reflection.enable_server_reflection(services, self.grpc, _descriptions(services))

    def add(self, register: Callable[[Servicer, grpc.aio.Server], None], servicer: Servicer) -> None:
        """Add a servicer with its generated function add_..._to_server."""
        register(servicer, self.grpc)
        if self._http is not None:
            register(servicer, cast("grpc.aio.Server", self._http))

    async def start(self) -> None:
        """Start listening. Readiness is NOT_SERVING until `set_serving(True)`. Raises PortTaken."""
        await self.set_serving(False)
        await self.set_alive(True)
        try:
            self.grpc.add_insecure_port(self.address)
        except RuntimeError as error:
            raise PortTaken(self.address) from error
        await self.grpc.start()
        if self._http is not None:
            try:
                await self._http.start()
            except OSError as error:
                raise PortTaken(f"unix:{self._http.path}") from error

    async def set_serving(self, serving: bool) -> None:
        """Set the readiness: the status of the health service "". A stopping server stays NOT_SERVING."""
        await self._set_health("", serving and not self.stopping.is_set())

    async def set_alive(self, alive: bool) -> None:
        """Set the liveness: the status of the health service LIVENESS. A stopping server stays alive."""
        await self._set_health(LIVENESS, alive)

    async def stop(self) -> None:
        """Report NOT_SERVING, refuse new calls, and let running calls finish within GRACE."""
        self.stopping.set()
        await self.set_serving(False)
        stops = [self.grpc.stop(GRACE.total_seconds())]
        if self._http is not None:
            stops.append(self._http.stop(GRACE.total_seconds()))
        await asyncio.gather(*stops)

    async def _set_health(self, service: str, good: bool) -> None:
        status = health_pb2.HealthCheckResponse
        await self._health.set(service, status.SERVING if good else status.NOT_SERVING)


def _descriptions(services: Sequence[str]) -> DescriptorPool:
    """Return a pool of the descriptors that these services need, without others that this process has loaded."""
    known, described = descriptor_pool.Default(), DescriptorPool()

    def add(file: FileDescriptor) -> None:
        for needed in file.dependencies:
            add(needed)
        copy = FileDescriptorProto()
        file.CopyToProto(copy)
        described.Add(copy)

    for name in services:
        add(known.FindFileContainingSymbol(name))
    return described


def on_stop_signal(callback: Callable[[], None]) -> None:
    """Call `callback` on SIGTERM and on SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, callback)


async def serve(servers: Sequence[Server], is_ready: Callable[[], Awaitable[bool]]) -> None:
    """Run the servers until SIGTERM or SIGINT, then stop them gracefully.

    `is_ready` is called every READY_EVERY_S. Its result becomes the readiness of all servers.
    """
    stopping = asyncio.Event()
    on_stop_signal(stopping.set)
    for server in servers:
        await server.start()
        await server.set_serving(True)
        log.info("serving", extra={"address": server.address})
    async with asyncio.TaskGroup() as group:
        following = group.create_task(_follow(servers, is_ready))
        await stopping.wait()
        following.cancel()
    log.info("stopping")
    await asyncio.gather(*(server.stop() for server in servers))


async def _follow(servers: Sequence[Server], is_ready: Callable[[], Awaitable[bool]]) -> None:
    was_ready = True
    while True:
        await asyncio.sleep(READY_EVERY_S)
        ready = await is_ready()
        for server in servers:
            await server.set_serving(ready)
        if ready != was_ready:
            was_ready = ready
            if ready:
                log.info("ready: Redis answers again")
            else:
                log.warning("not ready: Redis does not answer")
