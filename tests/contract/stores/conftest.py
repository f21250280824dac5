from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import cast

import pytest
import trustme
from redis import Redis

from tests.contract.stores.seaweedfs import SeaweedFs, running_seaweedfs
from tests.valkey import Valkey, running_valkey


@pytest.fixture(scope="package")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="package")
def s3(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Generator[SeaweedFs]:
    with running_seaweedfs(tmp_path_factory.mktemp("s3"), authority) as server:
        yield server


@pytest.fixture(scope="package")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Generator[Valkey]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey(shared_valkey: Valkey) -> Iterator[Valkey]:
    """Return an empty Redis. After the test, its only user is `default` again."""
    yield shared_valkey
    with Redis.from_url(shared_valkey.url) as client:
        client.flushall()
        users = {*cast("list[str]", client.acl_users())} - {"default"}
        if users:
            client.acl_deluser(*users)
