"""Headers from clients: none makes a service fail, and services trust none of them."""

from __future__ import annotations

import grpc
import pytest

from insula.v1.results_service_pb2 import GetWorkloadRequest
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from tests.contract.edge import raw
from tests.contract.edge.conftest import WAYS
from tests.contract.edge.running_edge import Listener
from tests.contract.edge.scripted_services import ScriptedServices

OF_GRPC = {
    "grpc-timeout": "-1S",
    "grpc-encoding": "x",
    "grpc-accept-encoding": "\\",
    "grpc-previous-rpc-attempts": "x",
    "grpc-internal-encoding-request": "x",
    "grpc-status": "x",
    "grpc-trace-bin": "not base64",
    "anything-bin": "not base64",
    "x!#$%&'*+^`|~": "not a valid key in gRPC",
}


@pytest.fixture(params=["public", "internal"])
def listener(request: pytest.FixtureRequest, public: Listener, internal: Listener) -> Listener:
    return public if request.param == "public" else internal


@WAYS
@pytest.mark.parametrize("name", OF_GRPC)
def test_grpc_headers_of_a_plain_http_request_are_dropped(
    listener: Listener, services: ScriptedServices, name: str
) -> None:
    """The request is served without the header."""
    headers = {"content-type": "text/plain", name: OF_GRPC[name]}
    assert listener.call("POST", "/predict", b"x", headers).status == 200
    assert listener.call("GET", "/predict/1", headers={name: OF_GRPC[name]}).status == 200
    [upload] = services.submit.uploads
    assert name not in {**upload.metadata, **services.results.metadata}


@pytest.mark.parametrize("name", OF_GRPC)
def test_malformed_metadata_of_a_grpc_call_is_the_callers_fault(
    public: Listener, services: ScriptedServices, name: str
) -> None:
    """The code is INVALID_ARGUMENT, unless gRPC defines another one, such as UNIMPLEMENTED for an unknown encoding."""
    headers = raw.grpc_headers(b"/insula.v1.SubmitService/SubmitWorkload", (name.encode(), OF_GRPC[name].encode()))
    with raw.Http2(("127.0.0.1", public.port)) as connection:
        connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.block(headers)))
        connection.send(raw.frame(raw.DATA, raw.END_STREAM, 1, raw.message_frame(b"")))
        connection.read_until_ended([1])
    assert connection.replies[1].headers["grpc-status"] in {"0", "3", "12"}


def test_malformed_metadata_of_one_caller_does_not_affect_the_calls_of_others(
    public: Listener, services: ScriptedServices
) -> None:
    """Callers share the edge's connections to a service. gRPC caches headers of a connection, even malformed ones."""
    for name in ("grpc-timeout", "grpc-previous-rpc-attempts"):
        headers = raw.grpc_headers(b"/insula.v1.ResultsService/GetWorkload", (name.encode(), OF_GRPC[name].encode()))
        for _ in range(8):
            with raw.Http2(("127.0.0.1", public.port)) as connection:
                connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.block(headers)))
                connection.send(raw.frame(raw.DATA, raw.END_STREAM, 1, raw.message_frame(b"")))
                connection.read_until_ended([1])
    for _ in range(20):
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(public.address, options=options) as channel:
            ResultsServiceStub(channel).GetWorkload(GetWorkloadRequest(api="a", id="1"), timeout=10)


@WAYS
def test_a_request_id_that_is_too_long_or_not_visible_ascii_is_replaced(
    listener: Listener, services: ScriptedServices
) -> None:
    """The limit is 128 characters. Each replacement is another id. The service receives the replacement too."""
    kept = ["mine", "x" * 128, "!~"]
    assert [listener.post("/predict", x_request_id=id).headers["x-request-id"] for id in kept] == kept
    replaced = ["x" * 129, "a b", "a\tb", "\xe9"]
    answered = [listener.post("/predict", x_request_id=id).headers["x-request-id"] for id in replaced]
    assert {len(id) for id in answered} == {36}
    assert len({*answered}) == len(replaced)
    assert [upload.metadata["x-request-id"] for upload in services.submit.uploads] == kept + answered


@WAYS
@pytest.mark.parametrize("content_type", ["text/\xe9", "\xff", "\xc3\xa9", "application/json; \xff"])
def test_a_content_type_that_is_not_ascii_is_a_client_error(
    listener: Listener, services: ScriptedServices, content_type: str
) -> None:
    """The status is 400, even if the bytes are not valid UTF-8. Each character of the parameter is sent as one byte."""
    for method, path in (("POST", "/predict"), ("GET", "/predict/1")):
        answer = listener.call(method, path, headers={"content-type": content_type})
        assert answer.status == 400
        assert b"printable ASCII only" in answer.body
    assert services.submit.uploads == []


def test_a_grpc_call_without_te_is_a_client_error(listener: Listener, services: ScriptedServices) -> None:
    headers = raw.grpc_headers(b"/insula.v1.SubmitService/SubmitWorkload", te=False)
    with raw.Http2(("127.0.0.1", listener.port)) as connection:
        connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.block(headers)))
        connection.send(raw.frame(raw.DATA, raw.END_STREAM, 1, raw.message_frame(b"")))
        connection.read_until_ended([1])
    answer = connection.replies[1].headers
    assert answer["grpc-status"] == str(grpc.StatusCode.INVALID_ARGUMENT.value[0])
    assert "te: trailers" in answer["grpc-message"]
    assert services.submit.submits == []


def test_an_unknown_transfer_coding_is_a_client_error(listener: Listener) -> None:
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\nConnection: close\r\n\r\n"
    [reply] = raw.http1(("127.0.0.1", listener.port), request)
    assert reply.status == 400
    assert b'"malformed request"' in reply.body


@WAYS
def test_request_trailers_of_plain_http_reach_no_service(public: Listener, services: ScriptedServices) -> None:
    """The edge drops the trailers. If they had a header of gRPC, the service's gRPC library would refuse the call."""
    headers = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/predict/1"), (b":authority", b"localhost")]
    with raw.Http2(("127.0.0.1", public.port)) as connection:
        connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.block(headers)))
        trailers = raw.block([(b"grpc-status", b"x")])
        connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS | raw.END_STREAM, 1, trailers))
        connection.read_until_ended([1])
    assert connection.replies[1].status == 200


def test_the_text_of_an_outage_names_no_internal_address(public: Listener, services: ScriptedServices) -> None:
    """The edge replaces Envoy's own text, which has the address of the service and the error of the socket."""
    services.results_server.stop()
    try:
        options = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
        with grpc.insecure_channel(public.address, options=options) as channel:
            call = ResultsServiceStub(channel).GetWorkload.future(GetWorkloadRequest(api="a", id="1"), timeout=20)
            assert call.details() == "the service does not answer; try again"
    finally:
        services.results_server.start()
