"""How the path, the host and the method of a request select the call of a service."""

from __future__ import annotations

import grpc
import pytest

from insula.project.configuration.rules import ENDPOINTS_RESERVED
from tests.contract.edge.conftest import WAYS
from tests.contract.edge.running_edge import Listener
from tests.contract.edge.scripted_services import Refusal, ScriptedResults, ScriptedServices, ScriptedSubmit

pytestmark = WAYS


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        ("/predict", "predict"),
        ("/predict/", "predict"),
        ("/a/b/c/d/e/f/g/h", "a/b/c/d/e/f/g/h"),
        ("/v1/predict", "v1/predict"),
        ("/a.b_c-D", "a.b_c-D"),
        ("/a/%62", "a/b"),
        ("/a%2Fb", "a%2Fb"),
        ("/a//b", "a/b"),
        ("/x/../a", "a"),
        ("/", ""),
        ("/insula.v1.SubmitService/SubmitWorkload", "insula.v1.SubmitService/SubmitWorkload"),
        ("/insula.v1.ApiService/ListApis", "insula.v1.ApiService/ListApis"),
    ],
)
def test_the_path_selects_the_endpoint(public: Listener, submit: ScriptedSubmit, target: str, endpoint: str) -> None:
    """Slashes at the ends are removed. JSON posted to the path of a gRPC method is a normal submit."""
    assert public.post(target).status == 200
    assert (submit.uploads[0].first.endpoint, submit.uploads[0].first.api) == (endpoint, "")


@pytest.mark.parametrize(
    "host",
    [
        "api-text-generator",
        "api-text-generator:8888",
        "API-Text-Generator:8888",
        "api-text-generator.ml",
        "api-text-generator.ml:8888",
        "api-text-generator.ml.svc",
        "api-text-generator.ml.svc.cluster.local",
        "api-text-generator.ml.svc.cluster.local.:8888",
    ],
)
def test_inside_the_cluster_the_host_selects_the_api(internal: Listener, services: ScriptedServices, host: str) -> None:
    """POST http://api-{name}:8888/ and GET http://api-{name}:8888/{id}, with any suffix that Kubernetes resolves."""
    assert internal.post("/", host=host).status == 200
    assert internal.post("/?endpoint=other&api=other", host=host).status == 200
    assert internal.get("/some-id?id=other", host=host).status == 200
    assert {(upload.first.api, upload.first.endpoint) for upload in services.submit.uploads} == {("text-generator", "")}
    [read] = services.results.downloads
    assert (read.api, read.id, read.path) == ("text-generator", "some-id", "")


@pytest.mark.parametrize("host", ["localhost:8888", "api-", "xapi-a", "api-a.b.c.d", "api-a.example.com", "api-a_b.ns"])
def test_other_hosts_select_no_api(internal: Listener, submit: ScriptedSubmit, host: str) -> None:
    """With another host, the path is the endpoint, as on the public listener."""
    assert internal.post("/predict", host=host).status == 200
    assert (submit.uploads[0].first.endpoint, submit.uploads[0].first.api) == ("predict", "")


def test_on_the_public_listener_no_host_selects_an_api(public: Listener, submit: ScriptedSubmit) -> None:
    """A client chooses its Host header, so Host must not select the API."""
    assert public.post("/predict", host="api-echo:8888").status == 200
    assert (submit.uploads[0].first.endpoint, submit.uploads[0].first.api) == ("predict", "")


@pytest.mark.parametrize(
    "target", ["/~/echo", "/~", "/%7e/echo", "/%7E/echo/1", "//~/echo", "/x/../~/echo", "/x/%2e%2e/~/echo"]
)
@pytest.mark.parametrize("host", ["localhost", "api-other:8888"])
def test_a_client_cannot_use_the_internal_path_of_host_names(
    public: Listener, internal: Listener, services: ScriptedServices, target: str, host: str
) -> None:
    """The edge rewrites a host name to a path that begins with /~. If a client sends such a path, the answer is 404."""
    for listener in (public, internal):
        for reply in (listener.post(target, host=host), listener.get(target, host=host)):
            assert (reply.status, reply.error["code"]) == (404, 5)
    assert services.submit.uploads == []
    assert services.results.downloads == []


@pytest.mark.parametrize("target", ["/%ff", "/a/%C3%28", "/%C3%A9", "/%zz", "/100%", "/a%1", "/%0a"])
def test_an_invalid_escape_is_400(public: Listener, services: ScriptedServices, target: str) -> None:
    """Otherwise a service would receive a string that is not UTF-8, and answer 500."""
    for reply in (public.post(target), public.get(target)):
        assert (reply.status, reply.error["code"]) == (400, 3)
    assert services.submit.uploads == []


def test_a_client_cannot_send_headers_that_services_trust(public: Listener, submit: ScriptedSubmit) -> None:
    """The edge drops a client's x-client-id, and replaces its x-envoy-original-path and x-envoy-original-method."""
    public.post("/predict", x_client_id="root", x_envoy_original_path="/x", x_envoy_original_method="HEAD")
    metadata = submit.uploads[0].metadata
    assert "x-client-id" not in metadata
    assert (metadata["x-envoy-original-path"], metadata["x-envoy-original-method"]) == ("/predict", "POST")


def test_a_client_cannot_make_the_edge_retry_its_submit(public: Listener, submit: ScriptedSubmit) -> None:
    """Envoy accepts headers for retries from trusted clients. A retried submit would be two workloads."""
    submit.refusal = Refusal(grpc.StatusCode.UNAVAILABLE, "Redis does not answer")
    public.post("/predict", x_envoy_retry_grpc_on="unavailable", x_envoy_retry_on="5xx", x_envoy_max_retries="3")
    assert len(submit.uploads) == 1


@pytest.mark.parametrize("endpoint", sorted(ENDPOINTS_RESERVED))
def test_reserved_endpoints_reach_no_service(public: Listener, services: ScriptedServices, endpoint: str) -> None:
    """An API cannot have such an endpoint, so the answer is 404. The only exception is GET /healthz."""
    replies = [public.post(endpoint)] + ([public.get(endpoint)] if endpoint != "/healthz" else [])
    assert {(reply.status, reply.error["code"]) for reply in replies} == {(404, 5)}
    assert services.submit.uploads == []
    assert services.results.downloads == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_are_405(public: Listener, internal: Listener, method: str) -> None:
    """The header Allow lists the methods."""
    for reply in (public.call(method, "/predict"), internal.call(method, "/", headers={"host": "api-echo"})):
        assert (reply.status, reply.error["code"]) == (405, 12)
        assert reply.headers["allow"] == "GET, HEAD, POST, OPTIONS"


def test_options_lists_the_methods(public: Listener, results: ScriptedResults) -> None:
    """An OPTIONS request that is not a browser's preflight gets 204 with the header Allow."""
    reply = public.call("OPTIONS", "/predict")
    assert (reply.status, reply.headers["allow"]) == (204, "GET, HEAD, POST, OPTIONS")
