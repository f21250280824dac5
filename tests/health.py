"""The gRPC health service of a process of Insula."""

from __future__ import annotations

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from insula.rpc.server import LIVENESS

SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING)
CALL_S = 5


def is_ready(address: str) -> bool:
    """Return whether the process at `address`, host:port or unix:PATH, is ready. False if it does not answer."""
    return _serves(address, "") is True


def is_alive(address: str) -> bool | None:
    """Return whether the process is alive. None if it does not answer."""
    return _serves(address, LIVENESS)


def _serves(address: str, service: str) -> bool | None:
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(  # the types of the health stub lack its methods
            "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )
        try:
            return check(HealthCheckRequest(service=service), timeout=CALL_S) == SERVING
        except grpc.RpcError:
            return None
