"""Reads requests and maps Insula's errors to gRPC statuses, with one table and one interceptor.

Every error contains google.rpc.ErrorInfo: `reason` is the error's class name in upper snake case, `domain` is "insula",
`metadata` has the attributes in the class's `told`, as text. The time until a retry is in google.rpc.RetryInfo.
Any error that is not in the table is a bug: the caller gets INTERNAL without details, and the traceback is logged.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus
from grpc import StatusCode
from grpc_health.v1 import health_pb2

from insula import errors
from insula.stores.disk import room_of

log = logging.getLogger(__name__)

STATUS_CODE_BY_ERROR: Final = MappingProxyType(
    {
        errors.InvalidArgument: StatusCode.INVALID_ARGUMENT,
        errors.NotFound: StatusCode.NOT_FOUND,
        errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
        errors.EndpointTaken: StatusCode.ALREADY_EXISTS,
        errors.IdempotencyConflict: StatusCode.ALREADY_EXISTS,
        errors.ResourceExhausted: StatusCode.RESOURCE_EXHAUSTED,
        errors.StoreUnavailable: StatusCode.UNAVAILABLE,
        errors.LeaseLost: StatusCode.FAILED_PRECONDITION,
    }
)
HEALTH: Final = f"/{health_pb2.DESCRIPTOR.services_by_name['Health'].full_name}/"
"""Prefix of the full names of the health service's methods."""
UNAVAILABLE_RETRY_S: Final = 2
"""The Retry-After when a store does not answer."""
MESSAGE_S: Final = 10
"""How long the message of a unary call may take to arrive. For streams, the edge limits the time between messages."""


def status_code(error: type[errors.InsulaError]) -> StatusCode | None:
    """Return the code of `error`, or of its nearest base class that is in the table; None if there is none."""
    return next((STATUS_CODE_BY_ERROR[kind] for kind in error.__mro__ if kind in STATUS_CODE_BY_ERROR), None)


def reason(error: type[errors.InsulaError]) -> str:
    """Return the `reason` of an error class in ErrorInfo: QueueFull -> QUEUE_FULL."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.__name__).upper()


def _retry_s(error: errors.InsulaError) -> float | None:
    match error:
        case errors.ResourceExhausted(retry_after=delay):
            return delay.total_seconds()
        case errors.StoreUnavailable():
            return UNAVAILABLE_RETRY_S
        case _:
            return None


def status_of(error: errors.InsulaError) -> RpcStatus:
    """Return code, text and details of an error that is in the table."""
    metadata = {name: str(getattr(error, name)) for name in error.told}
    details: list[Message] = [ErrorInfo(reason=reason(type(error)), domain="insula", metadata=metadata)]
    if (retry_s := _retry_s(error)) is not None:
        details.append(RetryInfo(retry_delay=Duration(seconds=math.ceil(retry_s))))
    code = status_code(type(error)) or StatusCode.INTERNAL
    return RpcStatus(code=code.value[0], message=_told(error), details=[_pack(detail) for detail in details])


def named(error: errors.InsulaError, stores_folder: Path | None) -> errors.InsulaError:
    """Return `error`, or StorageFull in place of StoreUnavailable if the disk of `stores_folder` is full."""
    if stores_folder is not None and isinstance(error, errors.StoreUnavailable) and room_of(stores_folder).lacking:
        return errors.StorageFull()
    return error


async def _refuse(context: grpc.aio.ServicerContext[Any, Any], error: errors.InsulaError, code: StatusCode) -> NoReturn:
    status, trailers = status_of(error), list[tuple[str, str | bytes]]()
    if (retry_s := _retry_s(error)) is not None:
        trailers.append(("retry-after", str(math.ceil(retry_s))))
    trailers.append(("grpc-status-details-bin", status.SerializeToString()))
    await context.abort(code, status.message, tuple(trailers))


def _told(error: errors.InsulaError) -> str:
    """Return the text for the caller. For StoreUnavailable it names the store, but not its address or the operation."""
    if isinstance(error, errors.StoreUnavailable):
        log.debug("store unavailable", extra={"error": str(error)})
        return error.summary
    return str(error)


def _pack(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


async def _refuse_anything(
    context: grpc.aio.ServicerContext[Any, Any], error: Exception, behaviour: Behaviour
) -> NoReturn:
    if isinstance(error, errors.InsulaError) and (code := status_code(type(error))):
        await _refuse(context, error, code)
    if isinstance(error, grpc.aio.AbortError):
        raise error
    log.error(
        "unexpected error in an RPC, answered with INTERNAL", extra={"method": behaviour.__qualname__}, exc_info=error
    )
    await context.abort(StatusCode.INTERNAL, "internal error; see the service's log")


Behaviour = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Any]
Parse = Callable[[bytes], object]
Name = Callable[[Exception], Exception]
Take = Callable[[AsyncIterator[bytes]], Awaitable[object]]


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Parses requests and maps a servicer's errors to statuses. It catches every exception."""

    def __init__(self, stores_folder: Path | None = None) -> None:
        """`stores_folder` is a folder on the disk of Redis and S3; None if they run on other machines. See `named`."""
        self._stores_folder = stores_folder

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the method's handler, wrapped unless it is the health service's; None for an unknown method."""
        handler = await continuation(handler_call_details)
        details: Any = handler_call_details  # the stubs lack its attributes
        if handler is None or details.method.startswith(HEALTH):  # gRPC's own servicer writes to the context
            return handler
        return self.wrapped(handler)

    def wrapped(self, handler: Any) -> grpc.RpcMethodHandler[Any, Any]:
        """Return a handler that calls `handler`, takes requests as a stream of bytes, and maps errors to statuses.

        The returned handler parses the messages itself. gRPC never replies to a unary call without a message, and
        replies INTERNAL to a malformed message.
        """
        streams = handler.response_streaming
        name = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if streams else 'unary'}"
        behaviour: Behaviour = getattr(handler, name)
        take = partial(_every_message if handler.request_streaming else _only_message, handler.request_deserializer)
        if streams:
            wrapped = _wrap_stream(behaviour, take, self._named)
            return grpc.stream_stream_rpc_method_handler(wrapped, None, handler.response_serializer)
        wrapped = _wrap_unary(behaviour, take, self._named)
        return grpc.stream_unary_rpc_method_handler(wrapped, None, handler.response_serializer)

    def _named(self, error: Exception) -> Exception:
        return named(error, self._stores_folder) if isinstance(error, errors.InsulaError) else error


async def _only_message(parse: Parse, requests: AsyncIterator[bytes]) -> object:
    """Return the message of a unary call. Raises InvalidArgument if it takes longer than MESSAGE_S or is malformed."""
    try:
        async with asyncio.timeout(MESSAGE_S):
            message = await anext(aiter(requests), None)
    except TimeoutError:
        raise errors.InvalidArgument(
            f"the call's message did not arrive within {MESSAGE_S} s; over a slow connection use UploadWorkload"
        ) from None
    if message is None:
        raise errors.InvalidArgument("the call has no message")
    return _parsed(parse, message)


async def _every_message(parse: Parse, requests: AsyncIterator[bytes]) -> AsyncIterator[object]:
    """Yield the messages of a stream. Raises InvalidArgument at the first malformed one."""
    return (_parsed(parse, message) async for message in requests)


def _parsed(parse: Parse, message: bytes) -> object:
    try:
        return parse(message)
    except DecodeError:
        raise errors.InvalidArgument("the message is malformed: it is not the request message of this call") from None


def _wrap_unary(behaviour: Behaviour, take: Take, named: Name) -> Behaviour:
    async def call(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> object:
        try:
            return await behaviour(await take(requests), context)
        except Exception as error:  # noqa: BLE001 - the RPC edge: whatever it is, the caller gets a status
            await _refuse_anything(context, named(error), behaviour)

    return call


def _wrap_stream(behaviour: Behaviour, take: Take, named: Name) -> Behaviour:
    async def call(
        requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[object]:
        try:
            async for message in behaviour(await take(requests), context):
                yield message
        except Exception as error:  # noqa: BLE001 - as above
            await _refuse_anything(context, named(error), behaviour)

    return call
