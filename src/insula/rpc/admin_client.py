"""The client of the admin services: ApiService, and the WorkerService of a worker.

The table `_ERRORS` maps statuses to errors:

    UNAVAILABLE, DEADLINE_EXCEEDED, UNIMPLEMENTED  AdminUnavailable: the call may be retried
    INVALID_ARGUMENT                               ProjectInvalid
    any other status                               AdminRefused
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self, cast

import grpc
from grpc import StatusCode

from insula.errors import InsulaError, ProjectInvalid
from insula.rpc.admin import admin_channel
from insula.v1.api_service_pb2 import (
    Api,
    DeleteApiRequest,
    DeployApiRequest,
    GetApiRequest,
    GetTracebackRequest,
    ListApisRequest,
    RefreshApiRequest,
)
from insula.v1.api_service_pb2_grpc import ApiServiceStub
from insula.v1.worker_service_pb2 import DescribeWorkerRequest, StreamLogsRequest, Worker
from insula.v1.worker_service_pb2_grpc import WorkerServiceStub

if TYPE_CHECKING:
    from insula.project import ApiSpec

PIECE_BYTES: Final = 512 * 1024
"""Bytes of the bundle in one message; the .proto file allows 1 MiB."""
DEPLOY_TIMEOUT: Final = timedelta(seconds=60)
DELETE_TIMEOUT: Final = timedelta(seconds=60)
CALL_TIMEOUT: Final = timedelta(seconds=10)

Options = tuple[tuple[str, int], ...]


class AdminUnavailable(InsulaError):
    """No Insula answers at the admin address, or not in time. The call may be retried. `detail` is gRPC's text."""

    def __init__(self, text: str, detail: str) -> None:
        super().__init__(text)
        self.detail = detail


class AdminRefused(InsulaError):
    """The admin service refused the call. The text includes the reason; `detail` is only the reason."""

    def __init__(self, text: str, detail: str) -> None:
        super().__init__(text)
        self.detail = detail


class _Wording(NamedTuple):
    """The error texts of a call. {detail} is the text from the service, {code} the name of the status."""

    unavailable: str = (
        "no Insula answers at this admin address; check that `insula up` is running, and that --admin or "
        "INSULA_ADMIN, if set, is the admin address that it prints ({detail})"
    )
    refused: str = "{detail}"


_USUAL: Final = _Wording()
_DEPLOYING: Final = _Wording(
    "the API could not be deployed, try again: {detail}", "the API was not deployed: {detail} ({code})"
)


def _unavailable(wording: _Wording, code: StatusCode, detail: str) -> InsulaError:
    return AdminUnavailable(wording.unavailable.format(detail=detail, code=code.name), detail)


def _invalid(wording: _Wording, code: StatusCode, detail: str) -> InsulaError:  # noqa: ARG001 - a row of the table
    return ProjectInvalid(detail)


def _refused(wording: _Wording, code: StatusCode, detail: str) -> InsulaError:
    detail = detail or str(code)
    return AdminRefused(wording.refused.format(detail=detail, code=code.name), detail)


_ERRORS: Final[Mapping[StatusCode, Callable[[_Wording, StatusCode, str], InsulaError]]] = MappingProxyType(
    {
        StatusCode.UNAVAILABLE: _unavailable,
        StatusCode.DEADLINE_EXCEEDED: _unavailable,
        StatusCode.UNIMPLEMENTED: _unavailable,
        StatusCode.INVALID_ARGUMENT: _invalid,
    }
)


@contextmanager
def _translated(wording: _Wording = _USUAL) -> Generator[None]:
    try:
        yield
    except grpc.RpcError as error:
        failure = cast("grpc.Call", error)  # grpc's types do not show that every error of a call is a grpc.Call
        code = failure.code()
        raise _ERRORS.get(code, _refused)(wording, code, failure.details() or "") from error


class AdminClient:
    """Calls the admin services at one address. Every method raises the errors that the module's docstring lists."""

    def __init__(self, channel: grpc.Channel) -> None:
        """`channel` leads to the address of an admin service. The method `close` closes it."""
        self._channel = channel
        self._apis = ApiServiceStub(channel)
        self._worker = WorkerServiceStub(channel)

    @classmethod
    def at(cls, address: str, token: str = "", options: Options = ()) -> Self:
        """Return a client for host:port or unix:PATH. `token` is the value of INSULA_ADMIN_TOKEN; empty means none."""
        return cls(admin_channel(address, token, options))

    def answers(self, within_s: float) -> bool:
        """Wait until a server listens at the address. Return False if none does after `within_s`."""
        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout=within_s)
        except grpc.FutureTimeoutError:
            ready.cancel()
            return False
        return True

    def deploy(self, spec: ApiSpec, bundle: bytes) -> Api:
        """Register the API or its new version. Deploying the same configuration and bundle again changes nothing."""
        with _translated(_DEPLOYING):
            pieces = _deploy_requests(spec, bundle)
            return self._apis.DeployApi(pieces, timeout=DEPLOY_TIMEOUT.total_seconds()).api

    def api(self, name: str) -> Api:
        """Return the current state of the API."""
        with _translated():
            return self._apis.GetApi(GetApiRequest(name=name), timeout=CALL_TIMEOUT.total_seconds()).api

    def apis(self) -> list[Api]:
        """Return the current state of all APIs, sorted by name."""
        with _translated():
            return list(self._apis.ListApis(ListApisRequest(), timeout=CALL_TIMEOUT.total_seconds()).apis)

    def traceback(self, api: str, id: str) -> str:
        """Return the traceback of a failed workload, 8 KiB at most; empty if there is none."""
        with _translated():
            request = GetTracebackRequest(api=api, id=id)
            return self._apis.GetTraceback(request, timeout=CALL_TIMEOUT.total_seconds()).traceback

    def refresh(self, name: str) -> Api:
        """Start the replacement of an API's handler processes, and return at once."""
        with _translated():
            return self._apis.RefreshApi(RefreshApiRequest(name=name), timeout=CALL_TIMEOUT.total_seconds()).api

    def delete(self, name: str) -> int:
        """Delete an API; return the number of waiting workloads that were cancelled."""
        with _translated():
            request = DeleteApiRequest(name=name)
            return self._apis.DeleteApi(request, timeout=DELETE_TIMEOUT.total_seconds()).cancelled

    def releases(self) -> list[Worker]:
        """Return the state of each version on the worker at this address. All are versions of one API."""
        with _translated():
            request = DescribeWorkerRequest()
            return list(self._worker.DescribeWorker(request, timeout=CALL_TIMEOUT.total_seconds()).workers)

    def log_lines(self, *, follow: bool = False, workload: str = "") -> Iterator[str]:
        """Yield the latest log lines of the worker at this address as JSON; with `follow`, then new lines."""
        with _translated():
            for response in self._worker.StreamLogs(StreamLogsRequest(follow=follow, workload=workload)):
                yield response.line

    def close(self) -> None:
        """Close the connection. Running calls end with an error."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _deploy_requests(spec: ApiSpec, bundle: bytes) -> Iterator[DeployApiRequest]:
    yield DeployApiRequest(spec_json=spec.to_json(), bundle=bundle[:PIECE_BYTES])
    for start in range(PIECE_BYTES, len(bundle), PIECE_BYTES):
        yield DeployApiRequest(bundle=bundle[start : start + PIECE_BYTES])
