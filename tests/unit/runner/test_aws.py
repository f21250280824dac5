"""The endpoint that a client of botocore gets, with a fake botocore. tests/contract has tests with old and new ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from insula_runner.aws import GIVEN_VARIABLE, READS_IT_SINCE, change, version_of

OLD, NEW = (1, 20), READS_IT_SINCE
HERE = "http://here"
ENVIRONMENT = {
    GIVEN_VARIABLE: f"GIVEN {HERE}",
    "AWS_ACCESS_KEY_ID": "GIVEN",
    "AWS_ENDPOINT_URL_S3": HERE,
    "AWS_ENDPOINT_URL_DYNAMODB": "http://there",
}


def asked_with(version: tuple[int, int], environment: dict[str, str], service: str, key: str, **more: Any) -> Any:
    """Create a client. Return the endpoint that botocore gets, and whether it must ignore those of the environment."""

    class Creator:
        def create_client(self, **kwargs: Any) -> Any:
            config = kwargs.get("client_config")
            return kwargs.get("endpoint_url"), bool(config and config.ignore_configured_endpoint_urls)

    change(Creator, version, environment)
    credentials = SimpleNamespace(access_key=key) if key else None
    return Creator().create_client(service_name=service, credentials=credentials, **more)


@pytest.mark.parametrize(
    ("service", "key", "old", "new"),
    [
        ("s3", "GIVEN", (HERE, False), (None, False)),
        ("s3", "", (HERE, False), (None, False)),
        ("s3", "OWN", (None, False), (None, True)),
        ("dynamodb", "GIVEN", ("http://there", False), (None, False)),
        ("sqs", "GIVEN", (None, False), (None, False)),
        ("sqs", "OWN", (None, False), (None, False)),
    ],
)
def test_s3_with_the_given_keys_is_ours_and_all_else_is_amazons(service: str, key: str, old: Any, new: Any) -> None:
    """Clients of S3 with the stack's keys use the stack's S3. Others use Amazon, or the variable of their service.

    A new botocore reads AWS_ENDPOINT_URL_S3 itself. An old one must get the endpoint as an argument.
    """
    assert asked_with(OLD, ENVIRONMENT, service, key) == old
    assert asked_with(NEW, ENVIRONMENT, service, key) == new


@pytest.mark.parametrize("environment", [{"AWS_ENDPOINT_URL_S3": "http://own"}, {"AWS_ENDPOINT_URL": "http://own"}])
def test_an_endpoint_of_the_projects_own_is_for_all_its_keys(environment: dict[str, str]) -> None:
    """A project can set the endpoint in `.env`, or the handler can set it later. Then clients with any keys use it."""
    for variables in (environment, {**ENVIRONMENT, "AWS_ENDPOINT_URL_S3": "http://own"}):
        assert asked_with(OLD, variables, "s3", "OWN") == ("http://own", False)
        assert asked_with(NEW, variables, "s3", "OWN") == (None, False)


def test_a_client_that_is_given_an_endpoint_has_it() -> None:
    for version in (OLD, NEW):
        assert asked_with(version, ENVIRONMENT, "s3", "OWN", endpoint_url="http://mine") == ("http://mine", False)


@pytest.mark.parametrize("version", ["1.31.0", "1.40", "2.0.0", "unreadable"])
def test_new_versions_are_known(version: str) -> None:
    assert version_of(version) >= READS_IT_SINCE
