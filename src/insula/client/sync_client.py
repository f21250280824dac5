"""The client for ordinary code. `insula.client.async_client` is its twin."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, cast

import grpc

from insula.client import calls
from insula.client.failures import Call, RpcFailure, WorkloadFailed, error_of
from insula.client.payloads import Outgoing, Payload, pieces, prepare
from insula.client.workload import Workload, parse_workload
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from insula.v1.submit_service_pb2 import UploadWorkloadRequest
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub


class Client:
    """Submits workloads and reads them, over gRPC to the public URL of an Insula.

    Safe to share between threads. Close it, or use it in a `with` statement. Every method raises the classes of
    `insula.errors`, Unreachable if nothing answers, and CallFailed for any other gRPC status.
    """

    def __init__(self, url: str = "http://127.0.0.1:8080") -> None:
        target = calls.target_of(url)
        self._url = url
        self._channel = (
            grpc.secure_channel(target.address, grpc.ssl_channel_credentials(), options=target.options)
            if target.tls
            else grpc.insecure_channel(target.address, options=target.options)
        )
        self._submit = SubmitServiceStub(self._channel)
        self._results = ResultsServiceStub(self._channel)

    def submit(self, api: str, payload: Payload, *, content_type: str | None = None) -> str:
        """Submit `payload` and return the workload's id: from then on it is on disk.

        Not repeated once sent, since a repeated submit makes a second workload: after Unreachable or a time-out
        it is not known whether it was accepted.
        """
        outgoing = prepare(payload, content_type)
        if not outgoing.fits_one_message:
            return self._upload(api, outgoing)
        try:
            request = calls.submit_request(api, outgoing)
            return self._submit.SubmitWorkload(request, timeout=calls.ANSWER_TIMEOUT_S).id
        except grpc.RpcError as error:
            raise error_of(cast("RpcFailure", error), Call(self._url, api)) from error

    def get(self, api: str, id: str) -> Workload:
        """Return the workload as it stands."""
        return self._get(api, id, 0)

    def wait(self, api: str, id: str, timeout: float | None = None) -> Workload:
        """Return the workload once it has ended. Raises TimeoutError after `timeout` seconds; None waits on."""
        patience = calls.Patience(timeout)
        while True:
            wait_s = patience.next_wait_s()
            workload = self._get(api, id, wait_s)
            if workload.ended:
                return workload
            if not wait_s:
                raise patience.give_up(api, id)

    def run(
        self, api: str, payload: Payload, *, content_type: str | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """Submit `payload`, wait, and return the handler's dictionary. Raises WorkloadFailed if there is none."""
        workload = self.wait(api, self.submit(api, payload, content_type=content_type), timeout)
        if workload.result is None:
            raise WorkloadFailed(workload)
        return workload.result

    def close(self) -> None:
        """Close the connection. Calls under way end with an error."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, api: str, id: str, wait_s: float) -> Workload:
        try:
            request = calls.get_request(api, id, wait_s)
            reply = self._results.GetWorkload(request, timeout=wait_s + calls.ANSWER_TIMEOUT_S)
        except grpc.RpcError as error:
            raise error_of(cast("RpcFailure", error), Call(self._url, api, id)) from error
        return parse_workload(reply.workload)

    def _upload(self, api: str, outgoing: Outgoing) -> str:
        source = _Source(api, outgoing)
        try:
            return self._submit.UploadWorkload(source.messages(), timeout=calls.UPLOAD_TIMEOUT_S).id
        except grpc.RpcError as error:
            if source.fault is not None:
                raise source.fault from None
            raise error_of(cast("RpcFailure", error), Call(self._url, api)) from error


class _Source:
    """Feeds one upload, on gRPC's own thread, and keeps what reading the payload raised: gRPC would swallow it."""

    def __init__(self, api: str, outgoing: Outgoing) -> None:
        self._requests = calls.UploadRequests(api, outgoing.content_type)
        self._outgoing = outgoing
        self.fault: Exception | None = None

    def messages(self) -> Iterator[UploadWorkloadRequest]:
        """Yield the messages; the call is given up if the payload cannot be read."""
        try:
            for piece in pieces(self._outgoing.source):
                yield self._requests.carrying(piece)
            yield from self._requests.rest()
        except Exception as error:
            self.fault = error
            raise
