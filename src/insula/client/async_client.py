"""The client for asyncio. `insula.client.sync_client` is its twin."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self, cast

import grpc

from insula.client import calls
from insula.client.failures import Call, RpcFailure, WorkloadFailed, error_of
from insula.client.payloads import AsyncPayload, Outgoing, prepare
from insula.client.uploads import Upload
from insula.client.workload import Workload, parse_workload
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub


class AsyncClient:
    """Submits workloads and reads them, over gRPC to the public URL of an Insula.

    Belongs to the event loop it is first used in. Close it, or use it in an `async with` statement. Every method
    raises the classes of `insula.errors`, Unreachable if nothing answers, and CallFailed for any other gRPC status.
    """

    def __init__(self, url: str = "http://127.0.0.1:8080") -> None:
        self._target = calls.target_of(url)
        self._url = url
        # Made at first use: a channel belongs to the loop that is running then.
        self._open_channel: grpc.aio.Channel | None = None
        # A second connection, made for the first upload; insula.client.uploads says why.
        self._upload_channel: grpc.Channel | None = None

    async def submit(self, api: str, payload: AsyncPayload, *, content_type: str | None = None) -> str:
        """Submit `payload` and return the workload's id: from then on it is on disk.

        Not repeated once sent, since a repeated submit makes a second workload: after Unreachable or a time-out
        it is not known whether it was accepted.
        """
        outgoing = prepare(payload, content_type)
        try:
            if not outgoing.fits_one_message:
                return await self._upload(api, outgoing)
            request = calls.submit_request(api, outgoing)
            reply = await SubmitServiceStub(self._channel()).SubmitWorkload(request, timeout=calls.ANSWER_TIMEOUT_S)
        except grpc.RpcError as error:
            raise error_of(cast("RpcFailure", error), Call(self._url, api)) from error
        return reply.id

    async def get(self, api: str, id: str) -> Workload:
        """Return the workload as it stands."""
        return await self._get(api, id, 0)

    async def wait(self, api: str, id: str, timeout: float | None = None) -> Workload:  # noqa: ASYNC109 - the twin's signature
        """Return the workload once it has ended. Raises TimeoutError after `timeout` seconds; None waits on."""
        patience = calls.Patience(timeout)
        while True:
            wait_s = patience.next_wait_s()
            workload = await self._get(api, id, wait_s)
            if workload.ended:
                return workload
            if not wait_s:
                raise patience.give_up(api, id)

    async def run(
        self,
        api: str,
        payload: AsyncPayload,
        *,
        content_type: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> dict[str, Any]:
        """Submit `payload`, wait, and return the handler's dictionary. Raises WorkloadFailed if there is none."""
        workload = await self.wait(api, await self.submit(api, payload, content_type=content_type), timeout)
        if workload.result is None:
            raise WorkloadFailed(workload)
        return workload.result

    async def close(self) -> None:
        """Close the connection. Calls under way end with an error."""
        if self._open_channel is not None:
            await self._open_channel.close()
        if self._upload_channel is not None:
            self._upload_channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _channel(self) -> grpc.aio.Channel:
        if self._open_channel is None:
            address, options = self._target.address, self._target.options
            self._open_channel = (
                grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(), options=options)
                if self._target.tls
                else grpc.aio.insecure_channel(address, options=options)
            )
        return self._open_channel

    async def _get(self, api: str, id: str, wait_s: float) -> Workload:
        try:
            request = calls.get_request(api, id, wait_s)
            stub = ResultsServiceStub(self._channel())
            reply = await stub.GetWorkload(request, timeout=wait_s + calls.ANSWER_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise error_of(error, Call(self._url, api, id)) from error
        return parse_workload(reply.workload)

    async def _upload(self, api: str, outgoing: Outgoing) -> str:
        if self._upload_channel is None:
            self._upload_channel = calls.open_channel(self._target)
        loop = asyncio.get_running_loop()
        return await Upload(SubmitServiceStub(self._upload_channel), api, outgoing, loop).wait_in(loop)
