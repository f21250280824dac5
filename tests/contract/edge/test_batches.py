"""POST …:batch: the body streams in, and the answers stream out."""

from __future__ import annotations

import pytest

from insula.ids import new_id
from tests.contract.edge.running_edge import Listener
from tests.contract.edge.scripted_services import ScriptedSubmit

NDJSON = "application/x-ndjson"


@pytest.mark.parametrize(
    ("target", "endpoint"), [("/predict:batch", "predict"), ("/a/b/c/d/e/f/g/h:batch?x=1", "a/b/c/d/e/f/g/h")]
)
def test_the_path_selects_the_endpoint(public: Listener, submit: ScriptedSubmit, target: str, endpoint: str) -> None:
    reply = public.post(target, b"[1]\n[2]\n", content_type=NDJSON, idempotency_key="k")
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, NDJSON, b"[1]\n[2]\n")
    assert not [name for name in reply.headers if name.startswith(("grpc-", "x-envoy-"))]
    [batch] = submit.batches
    assert (batch.endpoint, batch.api, batch.payload.content_type) == (endpoint, "", NDJSON)


def test_inside_the_cluster_the_host_selects_the_api(internal: Listener, submit: ScriptedSubmit) -> None:
    assert internal.post("/:batch", b"[1]", host="api-text-generator:8888", content_type=NDJSON).body == b"[1]"
    [batch] = submit.batches
    assert (batch.api, batch.endpoint) == ("text-generator", "")


def test_only_a_post_is_a_batch(public: Listener, submit: ScriptedSubmit) -> None:
    assert public.get("/predict:batch").status == 404
    assert public.get(f"/predict/{new_id()}:batch").status == 404
    assert public.call("PUT", "/predict:batch").status == 405
    assert public.post("/predict:bunch").status == 200
    assert submit.batches == []
    assert submit.uploads[0].first.endpoint == "predict:bunch", "which the service refuses: no API has a colon"


def test_browsers_may_send_batches(public: Listener) -> None:
    origin = {"origin": "https://example.com"}
    preflight = public.call("OPTIONS", "/predict:batch", headers=origin | {"access-control-request-method": "POST"})
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert public.post("/predict:batch", b"[1]", content_type=NDJSON, **origin).headers["access-control-allow-origin"]
