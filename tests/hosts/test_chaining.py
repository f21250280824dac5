"""A handler in a pod calls another API under every name that Kubernetes gives its Service."""

from __future__ import annotations

import pytest

from tests.hosts.fleet import IN_CLUSTER, NAMESPACE, Fleet

HOSTS = ("api-job", f"api-job.{NAMESPACE}", f"api-job.{NAMESPACE}.svc.cluster.local")
URLS = [f"http://{host}:{IN_CLUSTER}/" for host in HOSTS]


@pytest.mark.parametrize("api", ["caller", "caller-unconfined"])
def test_a_handler_calls_another_api_by_short_namespaced_and_full_name(fleet: Fleet, api: str) -> None:
    """Its isolation does not hide the DNS servers of its pod."""
    ended = fleet.end_of(api, fleet.submit_one(api, urls=URLS))
    assert ended["result"] == dict.fromkeys(URLS, "completed")
