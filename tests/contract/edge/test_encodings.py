"""The service handles Content-Encoding. The edge passes bodies on unchanged, and maps refusals to 413, 415 or 400."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from tests.contract.edge.conftest import WAYS
from tests.contract.edge.running_edge import Listener
from tests.contract.edge.scripted_services import Refusal, ScriptedServices

pytestmark = WAYS

BODY = gzip.compress(b'{"a": 1}' * 10_000)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "image/png"])
@pytest.mark.parametrize("chunked", [True, False])
def test_an_encoded_body_and_its_encoding_arrive_unchanged(
    public: Listener, internal: Listener, services: ScriptedServices, content_type: str, chunked: bool
) -> None:
    for listener, host in ((public, "x"), (internal, "api-echo:8888")):
        headers = {"content-type": content_type, "content_encoding": "gzip", "host": host}
        body: bytes | Iterator[bytes] = (BODY[at : at + 100] for at in range(0, len(BODY), 100)) if chunked else BODY
        assert listener.post("/", body, **headers).status == 200
    for upload in services.submit.uploads:
        assert upload.sha256 == hashlib.sha256(BODY).hexdigest()
        assert upload.metadata["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("reason", "status"),
    [("PAYLOAD_TOO_LARGE", 413), ("ENCODING_UNSUPPORTED", 415), ("ENCODING_INVALID", 400), ("INVALID_ARGUMENT", 400)],
)
def test_the_reason_of_a_refusal_decides_the_http_status(
    public: Listener, internal: Listener, services: ScriptedServices, reason: str, status: int
) -> None:
    """The text, the details and the code INVALID_ARGUMENT are the service's."""
    details = (ErrorInfo(reason=reason, domain="insula"),)
    services.submit.refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, 'why, "quoted"', details)
    for reply in (public.post("/predict"), internal.post("/", host="api-echo")):
        assert (reply.status, reply.error["code"], reply.error["message"]) == (status, 3, 'why, "quoted"')
        assert f'"reason":"{reason}"' in reply.body.decode()


def test_the_text_of_a_refusal_does_not_decide_the_status(public: Listener, services: ScriptedServices) -> None:
    """The text may contain words that the caller has sent, so only the reason decides."""
    text = 'there is no "reason":"PAYLOAD_TOO_LARGE" here'
    services.submit.refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
    assert public.post("/predict").status == 400
