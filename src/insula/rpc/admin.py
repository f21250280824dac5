"""Access to the admin services, ApiService and WorkerService.

On a Unix socket, file permissions control the access. Over TCP, every call except those of the health service must
have the token of INSULA_ADMIN_TOKEN as `authorization: Bearer <token>`.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, NoReturn

import grpc

from insula.errors import Unauthenticated
from insula.rpc.addresses import unix_socket
from insula.rpc.statuses import HEALTH

_HEADER: Final = "authorization"


def _bearer(token: str) -> str:
    return f"Bearer {token}"


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without the token. It must come after the interceptor that turns errors into statuses."""

    def __init__(self, token: str) -> None:
        self._wanted = _bearer(token).encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the call's handler, or a handler that raises Unauthenticated."""
        details: Any = handler_call_details  # the stubs lack its attributes
        sent = "".join(str(value) for name, value in details.invocation_metadata or () if name == _HEADER)
        if details.method.startswith(HEALTH) or hmac.compare_digest(sent.encode(), self._wanted):
            return await continuation(handler_call_details)
        return grpc.stream_unary_rpc_method_handler(_refuse)


async def _refuse(request: object, context: object) -> NoReturn:  # noqa: ARG001 - a behaviour's signature
    raise Unauthenticated


class _Call(NamedTuple):
    """The details of a call, with the token in the metadata. grpc requires an object with these attributes."""

    method: str
    timeout: float | None
    metadata: list[tuple[str, str | bytes]]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Sender(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamUnaryClientInterceptor):
    """Adds the token to the calls of a channel."""

    def __init__(self, token: str) -> None:
        self._header: tuple[str, str | bytes] = (_HEADER, _bearer(token))

    def _with_token(self, call: Any) -> Any:
        metadata: list[tuple[str, str | bytes]] = [*(call.metadata or ()), self._header]
        return _Call(call.method, call.timeout, metadata, call.credentials, call.wait_for_ready, call.compression)

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_token(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_token(client_call_details), request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._with_token(client_call_details), request_iterator)


def admin_channel(address: str, token: str, options: tuple[tuple[str, int], ...] = ()) -> grpc.Channel:
    """Return a channel to an admin service at host:port or unix:PATH. The token, if any, is sent over TCP only."""
    keepalive = (("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000))  # for a follower of a log
    channel = grpc.insecure_channel(address, options=(("grpc.enable_http_proxy", 0), *keepalive, *options))
    return grpc.intercept_channel(channel, _Sender(token)) if token and unix_socket(address) is None else channel
