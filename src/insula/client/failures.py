"""The errors of a client, and the translation of gRPC statuses into them.

A service's error is raised in the client as the same class of `insula.errors`. The `reason` of google.rpc.ErrorInfo
names the class. The client adds three classes:

    InsulaError
    ├── Unreachable       no server answers at the URL
    ├── CallFailed        the call ended with a status that names no error of Insula
    └── WorkloadFailed    `run` ended in failed or cancelled
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus

from insula import errors

if TYPE_CHECKING:
    from insula.client.workload import Workload

_DETAILS_KEY: Final = "grpc-status-details-bin"
_DOMAIN: Final = "insula"
_CODES: Final = {int(code.value[0]): code for code in grpc.StatusCode}


class Unreachable(errors.InsulaError):
    """No Insula answers at the URL, or the connection broke. A submit may have been accepted."""

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(f"{url} does not answer ({detail}); check the URL, and that `insula up` is running there")
        self.url = url


class CallFailed(errors.InsulaError):
    """The call ended with a gRPC status that names no error of Insula: it is from a proxy, or caused by a bug."""

    def __init__(self, code: grpc.StatusCode, detail: str) -> None:
        super().__init__(f"the call ended with {code.name}: {detail}")
        self.code = code


class WorkloadFailed(errors.InsulaError):
    """The awaited workload ended without a result; `workload.failure` has the reason."""

    def __init__(self, workload: Workload) -> None:
        why = f": {workload.failure.message}" if workload.failure else ""
        super().__init__(f"workload {workload.id} of {workload.api} ended {workload.status}{why}")
        self.workload = workload


class RpcFailure(Protocol):
    """The common interface of grpc.Call and grpc.aio.AioRpcError."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> object: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A call's URL, API and workload, for error texts."""

    url: str
    api: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A call that a service refused, with the service's text, the time until a retry, and the details of the error."""

    call: Call
    message: str
    retry_after: timedelta = timedelta(0)
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    def number(self, key: str) -> int:
        """Return a number from the error's details, 0 if it is missing."""
        text = self.metadata.get(key, "")
        return int(text) if text.isdecimal() else 0


_ERRORS: Final[Mapping[str, Callable[[_Refusal], errors.InsulaError]]] = MappingProxyType(
    {
        "INVALID_ARGUMENT": lambda it: errors.InvalidArgument(it.message),
        "CONTENT_TYPE_MISSING": lambda _: errors.ContentTypeMissing(),
        "ENCODING_INVALID": lambda it: errors.EncodingInvalid(it.message),
        "ENCODING_UNSUPPORTED": lambda it: errors.EncodingUnsupported(it.metadata.get("encoding", "")),
        "PROJECT_INVALID": lambda it: errors.ProjectInvalid(it.message),
        "ENDPOINT_TAKEN": lambda it: errors.EndpointTaken(
            it.metadata.get("endpoint", ""), it.metadata.get("owner", "")
        ),
        "IDEMPOTENCY_CONFLICT": lambda it: errors.IdempotencyConflict(it.call.api),
        "UNAUTHENTICATED": lambda _: errors.Unauthenticated(),
        "NOT_FOUND": lambda it: errors.NotFound(it.message),
        "API_NOT_FOUND": lambda it: errors.ApiNotFound(it.call.api),
        "WORKLOAD_NOT_FOUND": lambda it: errors.WorkloadNotFound(it.call.api, it.call.id),
        "RESOURCE_EXHAUSTED": lambda it: errors.ResourceExhausted(it.message, it.retry_after),
        "QUEUE_FULL": lambda it: errors.QueueFull(it.call.api, it.number("limit"), it.retry_after),
        "STORE_FULL": lambda _: errors.StoreFull(),
        "PAYLOAD_TOO_LARGE": lambda it: errors.PayloadTooLarge(it.number("limit_bytes")),
        "STORE_UNAVAILABLE": lambda it: errors.StoreUnavailable("", summary=it.message),
        "STORAGE_FULL": lambda _: errors.StorageFull(),
        "OBJECT_UNREADABLE": lambda _: errors.ObjectUnreadable(),
    }
)


def error_of(failure: RpcFailure, call: Call) -> errors.InsulaError | TimeoutError:
    """Return the exception to raise for a failed call. An error that a service sent keeps its text."""
    code, message = failure.code(), failure.details() or ""
    if (error := _named(_status(failure.trailing_metadata()), call, message)) is not None:
        return error
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return Unreachable(call.url, message)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return TimeoutError(f"{call.url} did not answer in time")
        case _:
            return CallFailed(code, message)


def error_in(status: RpcStatus, call: Call) -> errors.InsulaError:
    """Return the exception for one refused payload, or for one workload that cannot be read."""
    error = _named(status, call, status.message)
    return error or CallFailed(_CODES.get(status.code, grpc.StatusCode.UNKNOWN), status.message)


def _named(status: RpcStatus, call: Call, message: str) -> errors.InsulaError | None:
    """Return the error whose `reason` is in the status's details; None if there is no reason of Insula."""
    reason, retry_after, metadata = "", timedelta(0), dict[str, str]()
    for detail in status.details:
        info, retry = ErrorInfo(), RetryInfo()
        if detail.Unpack(info) and info.domain == _DOMAIN:
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta()
    make = _ERRORS.get(reason)
    if make is None:
        return None
    error = make(_Refusal(call, message, retry_after, metadata))
    error.args = (message,)
    return error


def _status(trailers: object) -> RpcStatus:
    # gRPC's two kinds of call have different, imprecise types for trailers.
    for key, value in cast("Iterable[tuple[str, str | bytes]]", trailers or ()):
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return RpcStatus.FromString(value)
            except DecodeError:
                break
    return RpcStatus()
