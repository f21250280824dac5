"""An old boto3 gets the endpoint of the environment; with a real one: tests/contract/dependencies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from insula_runner.old_botocore import default_endpoint, version_of

ENVIRONMENT = {"AWS_ENDPOINT_URL": "http://here", "AWS_ENDPOINT_URL_DYNAMODB": "http://there"}


def session(version: str) -> Any:
    """A stand-in for the module botocore.session, whose clients are what they were asked for with."""

    class Session:
        def create_client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
            return service_name, args, kwargs

    return SimpleNamespace(__version__=version, Session=Session)


def test_an_old_one_gets_the_endpoint_unless_it_was_given_one() -> None:
    old = session("1.20.112")
    default_endpoint(old, ENVIRONMENT)
    create = old.Session().create_client
    assert create("s3", region_name="r") == ("s3", (), {"region_name": "r", "endpoint_url": "http://here"})
    assert create("dynamodb")[2] == {"endpoint_url": "http://there"}
    assert create("s3", endpoint_url="http://own")[2] == {"endpoint_url": "http://own"}
    assert create("s3", "r", None, True, None, "http://own")[2] == {}


@pytest.mark.parametrize("version", ["1.31.0", "1.40", "2.0.0", "unreadable"])
def test_one_that_reads_it_by_itself_is_left_alone(version: str) -> None:
    new = session(version)
    default_endpoint(new, ENVIRONMENT)
    assert new.Session().create_client("s3")[2] == {}
    assert version_of(version) >= (1, 31)
