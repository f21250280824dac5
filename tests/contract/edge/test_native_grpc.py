"""gRPC and gRPC-Web on the same ports. Their errors arrive unchanged."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from insula.v1.results_service_pb2 import DownloadWorkloadRequest, GetWorkloadRequest, WatchWorkloadRequest
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from insula.v1.submit_service_pb2 import SubmitWorkloadRequest, SubmitWorkloadResponse, UploadWorkloadRequest
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub
from tests.contract.edge.running_edge import PAYLOAD_BYTES_MAX, Listener, RunningEdge
from tests.contract.edge.scripted_services import WORKLOAD_ID, ScriptedServices
from tests.contract.edge.test_errors import QUEUE_FULL


@pytest.fixture(params=["public", "internal"])
def listener(request: pytest.FixtureRequest, edge: RunningEdge) -> Listener:
    return edge.public if request.param == "public" else edge.internal


@pytest.fixture
def channel(listener: Listener, services: ScriptedServices) -> Iterator[grpc.Channel]:
    # A handler that calls another API sends this authority. It must not turn a gRPC call into a submit.
    options = [("grpc.default_authority", "api-echo:8888"), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(listener.address, options=options) as opened:
        yield opened


def test_every_public_call_passes(channel: grpc.Channel, services: ScriptedServices) -> None:
    """The test makes unary, client-streaming and server-streaming calls."""
    submit, results = SubmitServiceStub(channel), ResultsServiceStub(channel)
    request = SubmitWorkloadRequest(api="echo", content_type="text/plain", payload=b"x" * (4 << 20))
    assert submit.SubmitWorkload(request, timeout=10).id == WORKLOAD_ID
    assert services.submit.submits == [request]
    pieces = [
        UploadWorkloadRequest(api="echo", payload=HttpBody(content_type="a/b", data=b"1")),
        UploadWorkloadRequest(),
    ]
    assert submit.UploadWorkload(iter(pieces), timeout=10).id == WORKLOAD_ID
    assert services.submit.uploads[0].first == pieces[0]
    assert results.GetWorkload(GetWorkloadRequest(api="echo", id="1"), timeout=10).workload.id == "1"
    [body] = results.DownloadWorkload(DownloadWorkloadRequest(api="echo", id="1"), timeout=10)
    assert body.data == services.results.pieces[0]
    watched = results.WatchWorkload(WatchWorkloadRequest(api="echo", id="1"), timeout=10)
    assert [message.workload.status for message in watched] == ["in_queue", "completed"]


def test_an_error_keeps_status_details_and_trailers(channel: grpc.Channel, services: ScriptedServices) -> None:
    services.submit.refusal = QUEUE_FULL
    with pytest.raises(grpc.RpcError) as caught:
        SubmitServiceStub(channel).SubmitWorkload(SubmitWorkloadRequest(api="echo"), timeout=10)
    error = caught.value
    assert isinstance(error, grpc.Call)
    assert (error.code(), error.details()) == (QUEUE_FULL.code, QUEUE_FULL.message)
    trailers = {item.key: item.value for item in error.trailing_metadata() or ()}
    assert trailers["retry-after"] == "7"
    info = ErrorInfo()
    details = trailers["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    assert Status.FromString(details).details[0].Unpack(info)
    assert info == QUEUE_FULL.details[0]


@pytest.mark.parametrize(
    "method",
    [
        "/insula.v1.ApiService/DeployApi",
        "/insula.v1.ApiService/ListApis",
        "/insula.v1.WorkerService/DescribeWorker",
        "/grpc.health.v1.Health/Check",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/insula.v1.SubmitServiceX/SubmitWorkload",
        "/~/echo",
    ],
)
def test_only_the_public_services_are_reachable(channel: grpc.Channel, listener: Listener, method: str) -> None:
    """The scripted servers would answer these calls, so UNIMPLEMENTED comes from the edge. gRPC-Web gets 404 too."""
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)(b"", timeout=10)
    error = caught.value
    assert isinstance(error, grpc.Call)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    web = listener.post(method, b"", content_type="application/grpc-web+proto")
    assert (web.status, web.headers["grpc-status"]) == (404, str(grpc.StatusCode.UNIMPLEMENTED.value[0]))


def test_reflection_describes_the_services(channel: grpc.Channel) -> None:
    """Clients such as grpcurl find the services by reflection."""
    assert "insula.v1.ResultsService" in ProtoReflectionDescriptorDatabase(channel).get_services()


def test_a_grpc_web_call_passes(listener: Listener, services: ScriptedServices) -> None:
    """The answer of binary gRPC-Web over HTTP/1.1 is a data frame, then a frame with the trailers."""
    request = SubmitWorkloadRequest(api="echo", content_type="text/plain", payload=b"hi")
    message = request.SerializeToString()
    frame = struct.pack(">BI", 0, len(message)) + message
    reply = listener.post(
        "/insula.v1.SubmitService/SubmitWorkload", frame, content_type="application/grpc-web+proto", x_grpc_web="1"
    )
    assert (reply.status, reply.headers["content-type"]) == (200, "application/grpc-web+proto")
    flag, length = struct.unpack(">BI", reply.body[:5])
    assert (flag, SubmitWorkloadResponse.FromString(reply.body[5 : 5 + length]).id) == (0, WORKLOAD_ID)
    assert reply.body[5 + length] == 0x80
    assert b"grpc-status:0" in reply.body[5 + length :]
    assert services.submit.submits == [request]


def test_a_grpc_web_error_keeps_its_status(listener: Listener, services: ScriptedServices) -> None:
    services.submit.refusal = QUEUE_FULL
    target = "/insula.v1.SubmitService/SubmitWorkload"
    reply = listener.post(target, struct.pack(">BI", 0, 0), content_type="application/grpc-web+proto")
    assert reply.status == 200
    assert (reply.headers["grpc-status"], reply.headers["retry-after"]) == ("8", "7")


def test_a_grpc_upload_over_the_limit_is_refused(channel: grpc.Channel) -> None:
    piece = UploadWorkloadRequest(api="echo", payload=HttpBody(content_type="a/b", data=bytes(1 << 20)))
    pieces = (piece for _ in range(PAYLOAD_BYTES_MAX // len(piece.payload.data) + 1))
    with pytest.raises(grpc.RpcError, match="larger than the limit of"):
        SubmitServiceStub(channel).UploadWorkload(pieces, timeout=30)
