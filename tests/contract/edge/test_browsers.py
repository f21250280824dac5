"""H9: pages of any origin may call the API and read its answers."""

from __future__ import annotations

import grpc

from tests.contract.edge.running_edge import Listener
from tests.contract.edge.scripted_services import Refusal, ScriptedServices

ORIGIN = "https://page.example"


def words(listed: str) -> set[str]:
    return {word.strip() for word in listed.split(",")}


def test_a_preflight_is_answered_by_the_edge(public: Listener, services: ScriptedServices) -> None:
    of_cortex = {"x-requested-with", "user-agent", "accept", "accept-language", "content-language", "origin"}
    ours = {"content-type", "content-encoding", "idempotency-key", "x-request-id", "authorization"}
    wanted = of_cortex | ours | {"x-grpc-web", "grpc-timeout"}
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}
    reply = public.call("OPTIONS", "/predict", headers=asked | {"access-control-request-headers": ",".join(wanted)})
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] in {"*", ORIGIN}
    assert words(reply.headers["access-control-allow-methods"]) == {"GET", "HEAD", "POST", "PUT", "OPTIONS"}
    assert wanted <= words(reply.headers["access-control-allow-headers"])
    assert services.submit.uploads == []


def test_answers_and_errors_can_be_read_by_a_page(public: Listener, services: ScriptedServices) -> None:
    """Answers and errors of the services, and errors of the edge itself, have the headers of CORS."""
    answers = [public.post("/predict", origin=ORIGIN), public.get("/predict/1", origin=ORIGIN)]
    services.submit.refusal = Refusal(grpc.StatusCode.NOT_FOUND, "there is no API")
    answers += [public.post("/predict", origin=ORIGIN), public.get("/~/x", origin=ORIGIN)]
    assert [answer.status for answer in answers] == [200, 200, 404, 404]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] in {"*", ORIGIN}
        exposed = words(answer.headers["access-control-expose-headers"])
        assert {"grpc-status", "grpc-message", "retry-after", "content-length", "content-range"} <= exposed
