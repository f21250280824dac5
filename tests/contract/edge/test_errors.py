"""All HTTP errors of the services and of the edge have one shape: {"code", "message", "details"}.

The code is the one of google.rpc.
"""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from tests.contract.edge.conftest import WAYS
from tests.contract.edge.running_edge import Listener
from tests.contract.edge.scripted_services import Refusal, ScriptedServices

pytestmark = WAYS

QUEUE_FULL = Refusal(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    "the queue of echo holds its limit of 2 workloads; try again later",
    (
        ErrorInfo(reason="QUEUE_FULL", domain="insula", metadata={"api": "echo"}),
        RetryInfo(retry_delay=Duration(seconds=7)),
    ),
    retry_after="7",
)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400),
        (grpc.StatusCode.FAILED_PRECONDITION, 400),
        (grpc.StatusCode.UNAUTHENTICATED, 401),
        (grpc.StatusCode.PERMISSION_DENIED, 403),
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.ALREADY_EXISTS, 409),
        (grpc.StatusCode.ABORTED, 409),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (grpc.StatusCode.INTERNAL, 500),
        (grpc.StatusCode.UNIMPLEMENTED, 501),
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
    ],
)
def test_a_services_code_becomes_an_http_status(
    public: Listener, services: ScriptedServices, code: grpc.StatusCode, status: int
) -> None:
    """A code gives the same status for submits and reads. The message is the service's. `details` may be empty."""
    services.submit.refusal = services.results.refusal = Refusal(code, "a reason, with ümlaut")
    for reply in (public.post("/predict"), public.get("/predict/1")):
        assert reply.status == status
        assert reply.error == {"code": code.value[0], "message": "a reason, with ümlaut", "details": []}
    assert len(services.submit.uploads) == len(services.results.downloads) == 1, "an answered call must not be retried"


def test_a_call_that_a_stopping_service_cancelled_is_503(public: Listener, services: ScriptedServices) -> None:
    """When grpc.aio stops, it may cancel a call that it has just accepted. The caller should retry."""
    services.submit.refusal = services.results.refusal = Refusal(grpc.StatusCode.CANCELLED, "CANCELLED")
    for reply in (public.post("/predict"), public.get("/predict/1")):
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")
        assert reply.error == {"code": 14, "message": "the service stopped during the call; try again", "details": []}
    assert public.call("HEAD", "/predict/1").status == 503
    assert len(services.submit.uploads) == 1, "the edge must not retry a submit"
    assert len(services.results.downloads) > 2, "the edge must retry a read"


@pytest.mark.parametrize(
    ("code", "status", "wait_s"),
    [(grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "5"), (grpc.StatusCode.UNAVAILABLE, 503, "2")],
)
def test_a_refusal_without_a_time_gets_a_default_retry_after(
    public: Listener, services: ScriptedServices, code: grpc.StatusCode, status: int, wait_s: str
) -> None:
    """H11: an HTTP client does not see the time to wait in a service's trailers. So the edge adds a default header."""
    services.submit.refusal = Refusal(code, "later")
    reply = public.post("/predict")
    assert (reply.status, reply.headers["retry-after"]) == (status, wait_s)


def test_error_details_are_readable(public: Listener, services: ScriptedServices) -> None:
    """H11: 429 carries ErrorInfo and RetryInfo as JSON, and Retry-After as a header."""
    services.submit.refusal = services.results.refusal = QUEUE_FULL
    for reply in (public.post("/predict"), public.get("/predict/1")):
        assert (reply.status, reply.headers["retry-after"]) == (429, "7")
        assert reply.error["details"] == [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "QUEUE_FULL",
                "domain": "insula",
                "metadata": {"api": "echo"},
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"},
        ]


def test_an_error_of_head_has_its_status_and_no_body(public: Listener, services: ScriptedServices) -> None:
    services.results.refusal = Refusal(grpc.StatusCode.NOT_FOUND, "there is no workload")
    reply = public.call("HEAD", "/predict/1")
    assert (reply.status, reply.body) == (404, b"")


def test_a_malformed_request_is_400(public: Listener) -> None:
    """Envoy refuses such a request before any filter runs. The error has the shape of all errors."""
    reply = public.call("GET", "/%00")
    assert (reply.status, reply.error["code"]) == (400, 3)
