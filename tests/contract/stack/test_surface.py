"""The HTTP interface of a whole stack, through Envoy."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
import requests

from insula import Client
from insula.ids import new_id
from tests.http_api import HttpApi
from tests.stack import Stack

NUMBERS = '{"big": 9223372036854775807, "bigger": 123456789012345678901234567890, "one": 1.0, "z": 1, "a": "ż€🦉"}'


@pytest.fixture
def api(stack: Stack) -> HttpApi:
    return HttpApi(f"{stack.public}/probe")


def test_a_completed_workload_has_exactly_the_fields_of_cortex(api: HttpApi) -> None:
    answer = api.run(b"{}", "application/json")
    assert list(answer) == ["id", "status", "result", "timestamp"]
    assert answer["result"] == {"greeting": "hello", "id": answer["id"]}
    assert answer["timestamp"].endswith("Z")


def test_i8_verbatim_result_bytes_are_the_handlers_own(api: HttpApi) -> None:
    """64-bit and larger integers, 1.0, Unicode and the order of keys are not changed."""
    id = api.submit(f'{{"return": {NUMBERS}}}'.encode(), "application/json")
    api.end(id)
    assert NUMBERS in requests.get(f"{api.url}/{id}", timeout=10).text


def test_a_get_straight_after_the_post_is_never_404(api: HttpApi) -> None:
    for _ in range(100):
        id = api.submit(b'{"sleep_s": 0}', "application/json")
        reply = requests.get(f"{api.url}/{id}", timeout=10)
        assert reply.status_code == 200
        assert reply.json()["status"] in ("in_queue", "in_progress", "completed")


def test_a_failed_workload_has_its_reason_and_message(api: HttpApi) -> None:
    answer = api.run(b'{"raise": "no such luck"}', "application/json")
    assert answer["status"] == "failed"
    assert answer["error"] == {"reason": "HANDLER_ERROR", "message": "ValueError: no such luck"}
    assert "result" not in answer
    undecodable = api.run(b"{", "application/json")
    assert undecodable["error"]["reason"] == "PAYLOAD_INVALID"
    assert "could not be decoded to JSON" in undecodable["error"]["message"]


@pytest.mark.parametrize("kib", [31, 33, 20_000])
def test_a_payload_of_any_size_arrives_whole(api: HttpApi, kib: int) -> None:
    """The payload is stored in the queue, in S3 as one object, or in S3 in parts."""
    assert api.run(b"x" * kib * 1024, "application/x-blob")["result"] == {"type": "bytes", "length": kib * 1024}


@pytest.mark.parametrize("kib", [3, 5, 3_000])
def test_a_result_of_any_size_comes_back_whole(api: HttpApi, kib: int) -> None:
    text = "y" * kib * 1024
    answer = api.run(json.dumps({"return": {"text": text}}).encode(), "application/json")
    assert answer["result"] == {"text": text}


def test_errors_have_one_shape_and_the_right_status(stack: Stack, api: HttpApi) -> None:
    def refused(method: str, url: str, status: int, **more: Any) -> dict[str, Any]:
        reply = requests.request(method, url, timeout=10, **more)
        assert reply.status_code == status
        assert reply.headers["content-type"] == "application/json"
        body: dict[str, Any] = reply.json()
        assert list(body) == ["code", "message", "details"]
        return body

    text = {"Content-Type": "text/plain"}
    refused("POST", f"{stack.public}/nobody", 404, data="x", headers=text)
    refused("GET", f"{stack.public}/nobody/{new_id()}", 404)
    refused("GET", f"{api.url}/{new_id()}", 404)
    refused("GET", f"{api.url}/not-an-id", 404)
    refused("GET", api.url, 404)
    missing = refused("POST", api.url, 400, data=b"x")
    assert missing["details"][0]["reason"] == "CONTENT_TYPE_MISSING"
    refused("POST", f"{stack.public}/insula.v1.ApiService/DeployApi", 404, json={})


def test_the_query_string_overrides_neither_path_nor_payload(api: HttpApi) -> None:
    query = "?endpoint=nobody&api=nobody&id=x&path=x&payload.content_type=text/plain&payload.data=x"
    reply = requests.post(api.url + query, data=b"{}", headers={"Content-Type": "application/json"}, timeout=10)
    id = reply.json()["id"]
    api.end(id)
    assert requests.get(f"{api.url}/{id}{query}", timeout=10).json()["id"] == id


def test_malformed_headers_are_no_server_errors(api: HttpApi) -> None:
    """None of them causes a 5xx, or a 429 that a client would repeat."""
    url, text = api.url, {"Content-Type": "text/plain"}
    assert requests.post(url, b"x", headers={"Content-Type": b"text/plain; x=\xff"}, timeout=10).status_code == 400
    assert requests.post(url, b"x", headers={**text, "foo-bin": "!!!!"}, timeout=10).status_code == 200
    assert requests.post(url, b"x", headers={**text, "traceparent": "z" * 40_000}, timeout=10).status_code == 200
    assert requests.get(f"{url}/{'x' * 30_000}", timeout=10).status_code == 404


def test_an_error_text_that_no_store_accepts_is_escaped(api: HttpApi) -> None:
    """The text has a lone surrogate, as file names can have. The next workload still runs."""
    assert api.run(b'{"raise": "\\ud800"}', "application/json")["error"]["message"] == "ValueError: \\ud800"
    assert api.run(b"{}", "application/json")["status"] == "completed"


def test_i5_a_handler_over_its_memory_fails_at_once_with_that_reason(api: HttpApi) -> None:
    answer = api.run(b'{"allocate_mib": 400}', "application/json")
    assert answer["error"]["reason"] == "MEMORY_LIMIT"
    assert "compute.mem allows 300 MiB" in answer["error"]["message"]
    assert api.run(b"{}", "application/json")["status"] == "completed"


@pytest.mark.parametrize("framing", ["Content-Length: 1000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n64\r\n"])
def test_an_incomplete_body_makes_no_workload(stack: Stack, api: HttpApi, framing: str) -> None:
    """A body that the client did not send to its end is not accepted."""
    host, port = stack.public.removeprefix("http://").split(":")
    before = stack.counts("probe")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /probe HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n{framing}"
            connection.sendall(head.encode() + b"a" * 50)
    whole = api.run(b"{}", "application/json")  # when it has ended, all earlier requests have been processed
    assert whole["status"] == "completed"
    after = stack.counts("probe")
    assert sum(after.values()) == sum(before.values()) + 1


def test_handlers_call_each_other_by_name(stack: Stack) -> None:
    answer = HttpApi(f"{stack.public}/team/caller").run(b'{"return": {"n": 7}}', "application/json")
    assert answer["result"]["callee"]["result"] == {"n": 7}


def test_inside_the_cluster_the_host_header_names_the_api(stack: Stack) -> None:
    headers = {"Host": "api-probe:8888", "Content-Type": "application/json"}
    id = requests.post(f"{stack.internal}/", data=b"{}", headers=headers, timeout=10).json()["id"]
    reply = requests.get(f"{stack.internal}/{id}", headers={"Host": "api-probe"}, timeout=10)
    assert reply.json()["id"] == id


def test_a_handler_gets_its_own_s3_identity_and_none_of_our_settings(stack: Stack, api: HttpApi) -> None:
    seen = api.run(b'{"aws": true}', "application/json")["result"]
    for name, value in stack.s3_env.items():
        assert seen[name] == value
    assert {name for name in seen if name.startswith("INSULA_")} <= {
        "INSULA_API",
        "INSULA_VERSION",
        "INSULA_HANDLER_FILE",
        "INSULA_GIVEN_S3",
    }


def test_the_python_client_gets_the_same_workload(stack: Stack) -> None:
    with Client(stack.public) as client:
        id = client.submit("probe", {"return": {"n": 1}})
        workload = client.wait("probe", id, timeout=30)
        assert (workload.id, workload.status, workload.result) == (id, "completed", {"n": 1})
        assert client.run("probe", {"return": {"m": 2}}) == {"m": 2}


def test_prometheus_reads_the_queue_and_the_handlers(stack: Stack, api: HttpApi) -> None:
    api.run(b"{}", "application/json")
    queues = requests.get(stack.info["metrics"]["results"], timeout=10).text
    assert "cortex_async_queue_length{" in queues
    handlers = requests.get(stack.info["metrics"]["workers"]["probe"], timeout=10).text
    assert "cortex_async_request_count{" in handlers
    assert "cortex_async_latency_bucket{" in handlers
