"""When Redis reaches maxmemory, new submits get 429. Workers still finish workloads, and a new worker can start."""

from __future__ import annotations

import pytest
import requests
from redis import Redis

from tests.http_api import HttpApi
from tests.stack import Stack


@pytest.mark.slow
def test_i11_a_full_redis_refuses_submits_and_workers_empty_it(stack: Stack, api: HttpApi) -> None:
    ids = [api.submit(b'{"sleep_s": 0.3}', "application/json") for _ in range(20)]
    with Redis.from_url(stack.info["redis"]) as redis:
        redis.config_set("maxmemory", 1)  # Redis always stores more than one byte
        stack.kill("worker")
        refused = requests.post(api.url, b"{}", headers={"Content-Type": "application/json"}, timeout=10)
        assert refused.status_code == 429
        assert refused.json()["details"][0]["reason"] == "STORE_FULL"
        assert [api.end(id)["status"] for id in ids] == ["completed"] * 20
        redis.config_set("maxmemory", 0)
    assert api.run(b"{}", "application/json")["status"] == "completed"
