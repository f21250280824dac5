"""Cortex' handler document, section "API responses". The docstrings quote it."""

from __future__ import annotations

import time
from typing import cast

import pytest
from redis import Redis

from insula.keys import ApiKeys
from tests.contract.seed_document.conftest import Document

SEVEN_DAYS_S = 7 * 24 * 3600


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b'{"return": [1]}', "user response must be json serializable dictionary, got <class 'list'> instead: "),
        (b'{"return": "text"}', "user response must be json serializable dictionary, got <class 'str'> instead: "),
        (b'{"return": null}', "user response must be json serializable dictionary, got <class 'NoneType'> instead: "),
        (b'{"unserializable": 1}', "user response is not json serializable"),
    ],
)
def test_the_return_value_must_be_a_json_serializable_dictionary(
    document: Document, payload: bytes, message: str
) -> None:
    """The return value of your `handle_async()` method must be a JSON-serializable dictionary."""
    answer = document.api("interface").run(payload, "application/json")
    assert (answer["status"], answer["error"]["reason"]) == ("failed", "RESULT_INVALID")
    assert answer["error"]["message"].startswith(message)


@pytest.mark.parametrize("payload", [b"{}", b'{"return": [1]}'], ids=["completed", "failed"])
def test_the_result_is_queryable_for_7_days_after_completion(document: Document, payload: bytes) -> None:
    """The result for each request will remain queryable for 7 days after the request was completed."""
    api = document.api("interface")
    answer = api.run(payload, "application/json")
    kept_s = expires_s(document, answer["id"]) - time.time()
    assert kept_s > SEVEN_DAYS_S
    assert kept_s < SEVEN_DAYS_S + 2 * 24 * 3600, "and it does go"
    assert api.end(answer["id"]) == answer


def test_the_7_days_begin_at_the_end_and_not_at_the_request(document: Document) -> None:
    """The 7 days begin when the workload ends. While it waits, none of its data expires."""
    api = document.api("interface")
    before_s = time.time()
    ids = [api.submit(b"{}", "application/json") for _ in range(20)]
    for id in ids:
        api.end(id)
    assert min(expires_s(document, id) for id in ids) >= before_s + SEVEN_DAYS_S


def expires_s(document: Document, id: str) -> float:
    """Return the Unix time at which the workload's record expires. Negative if it has no TTL."""
    with Redis.from_url(document.stack.info["redis"]) as redis:
        return cast("int", redis.execute_command("PEXPIRETIME", ApiKeys("interface").ended_bucket(id)[0])) / 1000
