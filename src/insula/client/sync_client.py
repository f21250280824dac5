"""The client for ordinary code. `insula.client.async_client` is its twin."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, cast

import grpc

from insula.client import calls
from insula.client.failures import Call, RpcFailure, WorkloadFailed, error_of
from insula.client.payloads import Payload, prepare
from insula.client.uploads import Upload
from insula.client.workload import Workload, parse_workload
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub


class Client:
    """Submits workloads and reads them, over gRPC to the public URL of an Insula.

    Safe to share between threads. Close it, or use it in a `with` statement. Every method raises the classes of
    `insula.errors`, Unreachable if nothing answers, and CallFailed for any other gRPC status.
    """

    def __init__(self, url: str = "http://127.0.0.1:8080") -> None:
        self._url = url
        self._channel = calls.open_channel(calls.target_of(url))
        self._submit = SubmitServiceStub(self._channel)
        self._results = ResultsServiceStub(self._channel)

    def submit(self, api: str, payload: Payload, *, content_type: str | None = None) -> str:
        """Submit `payload` and return the workload's id: from then on it is on disk.

        Not repeated once sent, since a repeated submit makes a second workload: after Unreachable or a time-out
        it is not known whether it was accepted.
        """
        outgoing = prepare(payload, content_type)
        try:
            if not outgoing.fits_one_message:
                return Upload(self._submit, api, outgoing).wait()
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
