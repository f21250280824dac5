"""The texts of the stores' errors, for clients and for our logs."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError

from insula import errors
from insula.stores.redis_client import is_damage, redis_errors

IN_SCRIPT = "script: 1f, on @user_script:9."


def test_an_outage_has_a_summary_for_clients_and_a_detail_for_logs() -> None:
    error = errors.StoreUnavailable("Redis", "Error 111 connecting to 10.0.0.7:6379: refused")
    assert (error.store, error.summary) == ("Redis", "Redis does not answer")
    assert str(error) == "Redis does not answer: Error 111 connecting to 10.0.0.7:6379: refused"
    assert error.told == (), "the detail names hosts"
    refused = errors.StoreUnavailable("S3", "AccessDenied: key a/b", summary="S3 refused the request")
    assert (refused.summary, refused.detail) == ("S3 refused the request", "AccessDenied: key a/b")
    assert errors.ObjectUnreadable("NoSuchKey: a/b").summary == "S3 does not return one object"
    assert errors.StorageFull().summary == str(errors.StorageFull())


@pytest.mark.parametrize(
    "raised", [RedisConnectionError("host:1"), ResponseError("LOADING"), TimeoutError("2 s"), OSError("reset")]
)
def test_every_error_of_redis_py_is_an_outage(raised: Exception) -> None:
    with pytest.raises(errors.StoreUnavailable) as caught, redis_errors():
        raise raised
    assert (caught.value.store, caught.value.detail) == ("Redis", str(raised))


@pytest.mark.parametrize(
    ("raised", "damage"),
    [
        (ResponseError(f"WRONGTYPE Operation against a key {IN_SCRIPT}"), True),
        (ResponseError(f"user_script:9: attempt to perform arithmetic on a nil value {IN_SCRIPT}"), True),
        (ResponseError(f"Script attempted to access a non local key in a cluster node {IN_SCRIPT}"), False),
        (NoPermissionError(f"ACL failure in script {IN_SCRIPT}"), False),
        (ResponseError("MISCONF Errors writing to the AOF file"), False),
        (RedisConnectionError("host:1"), False),
    ],
)
def test_a_script_that_would_fail_again_is_told_from_an_outage(raised: Exception, *, damage: bool) -> None:
    with pytest.raises(errors.StoreUnavailable) as caught, redis_errors():
        raise raised
    assert is_damage(caught.value) is damage


def test_redis_at_its_memory_limit_is_not_an_outage() -> None:
    with pytest.raises(errors.StoreFull), redis_errors():
        raise OutOfMemoryError
