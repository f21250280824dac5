"""The gRPC health service of a process of Insula."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from insula.rpc.server import LIVENESS

SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING)
CALL_S = 5


def is_ready(address: str) -> bool:
    """Return whether the process at `address`, host:port or unix:PATH, is ready. False if it does not answer."""
    return _serves(address, "")


def is_alive(address: str) -> bool:
    """Return whether the process is alive. False if it does not answer."""
    return _serves(address, LIVENESS)


def liveness(address: str, within_s: float) -> Iterator[bool]:
    """Yield whether the process is alive, now and after each change, until it ends, `within_s` at most."""
    with grpc.insecure_channel(address) as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )
        with suppress(grpc.RpcError):
            for found in watch(HealthCheckRequest(service=LIVENESS), timeout=within_s):
                yield found == SERVING


def _serves(address: str, service: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(  # the types of the health stub lack its methods
            "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )
        try:
            return check(HealthCheckRequest(service=service), timeout=CALL_S) == SERVING
        except grpc.RpcError:
            return False
