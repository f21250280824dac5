"""A whole stack sends short submits and all reads over HTTP/1.1, and large submits over gRPC."""

from __future__ import annotations

import json
import re

from insula.rpc.addresses import unix_socket
from insula_envoy import admin
from tests.contract.edge.raw import place
from tests.contract.edge.running_edge import Listener
from tests.stack import Stack

SHORT_BYTES_MAX = 32 * 1024
COMPLETED = re.compile(r"^cluster\.(\w+)\.upstream_rq_completed: (\d+)$", re.MULTILINE)


def completed(stack: Stack) -> dict[str, int]:
    """Return how many requests each cluster of Envoy has answered. A service has one cluster for each way."""
    socket = unix_socket(stack.info["admin"])
    assert socket is not None
    found = COMPLETED.findall(admin.call(socket.with_name("envoy-admin.sock"), "GET", "/stats?filter=rq_completed"))
    return {cluster: int(count) for cluster, count in found}


def test_the_length_of_a_body_decides_the_way_of_a_submit(stack: Stack) -> None:
    public = Listener(place(stack.public)[1])
    small, large, chunked = bytes(SHORT_BYTES_MAX), bytes(SHORT_BYTES_MAX + 1), [b"1", b"2"]
    before = completed(stack)
    submitted = [public.post("/echo", body, content_type="a/b") for body in (b"", small, large, chunked)]
    assert [reply.status for reply in submitted] == [200] * 4
    for reply in submitted:
        id = json.loads(reply.body)["id"]
        assert json.loads(public.get(f"/echo/{id}").body)["id"] == id
    after = completed(stack)
    sent = {cluster: after[cluster] - before.get(cluster, 0) for cluster in after}
    assert {cluster: count for cluster, count in sent.items() if count} == {
        "submit_http": 2,
        "submit": 2,
        "results_http": 4,
    }
