from __future__ import annotations

from datetime import timedelta

import pytest
from grpc import StatusCode

from insula import errors
from insula.rpc.statuses import reason, status_code


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (errors.ContentTypeMissing(), StatusCode.INVALID_ARGUMENT, "CONTENT_TYPE_MISSING"),
        (errors.ApiNotFound("x"), StatusCode.NOT_FOUND, "API_NOT_FOUND"),
        (errors.WorkloadNotFound("a", "b"), StatusCode.NOT_FOUND, "WORKLOAD_NOT_FOUND"),
        (errors.EndpointTaken("/x", "y"), StatusCode.ALREADY_EXISTS, "ENDPOINT_TAKEN"),
        (errors.QueueFull("a", 1, timedelta(seconds=5)), StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
        (errors.StoreUnavailable("Redis"), StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
        (errors.ObjectUnreadable("x"), StatusCode.UNAVAILABLE, "OBJECT_UNREADABLE"),
        (errors.StorageFull(), StatusCode.UNAVAILABLE, "STORAGE_FULL"),
    ],
)
def test_each_error_has_its_code_and_a_stable_word(error: errors.InsulaError, code: StatusCode, word: str) -> None:
    assert (status_code(type(error)), reason(type(error))) == (code, word)
