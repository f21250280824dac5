"""The number of S3 requests of a sweep. Amazon charges for a LIST as much as for a PUT, and nothing for a DELETE."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any, cast

import pytest

from insula.errors import StoreUnavailable
from insula.ledger import LedgerPolicy
from insula.ledger.retention import Expired
from insula.registry import Registration
from insula_results.sweeper import Sweeper

API = Registration("echo", "/echo", "v", "", queue_limit=1, created_ms=0, updated_ms=0)


class Stores:
    """A fake registry, ledger, retention and S3. They have the given expired workloads and stale uploads."""

    def __init__(self, expired: Collection[Expired] = (), stale: Collection[str] = ()) -> None:
        self.policy = LedgerPolicy(retention=timedelta(days=7))
        self.expired_now, self.stale = list(expired), list(stale)
        self.listed = list[str]()
        self.aborted = set[str]()
        self.deleted = list[str]()
        self.forgotten = list[str]()
        self.broken = ""

    async def tidy(self) -> None:
        pass

    async def all(self) -> dict[str, Registration]:
        return {API.name: API}

    async def expired(self, api: str, *, count: int) -> tuple[list[Expired], bool]:
        assert api == API.name
        page, self.expired_now = self.expired_now[:count], self.expired_now[count:]
        return page, bool(self.expired_now)

    async def forget(self, _: str, id: str) -> bool:
        self.forgotten.append(id)
        return True

    async def stale_uploads(self, _: str) -> list[str]:
        return self.stale

    async def withdraw_upload(self, _: str, key: str) -> None:
        assert key in self.deleted

    async def abort_uploads(self, prefix: str, keys: Collection[str]) -> None:
        self.listed.append(prefix)
        self.aborted |= set(keys)

    async def delete(self, key: str) -> None:
        if key == self.broken:
            raise StoreUnavailable("S3")
        self.deleted.append(key)


def sweeper_of(stores: Stores) -> Sweeper:
    any_store = cast(Any, stores)
    return Sweeper(any_store, any_store, any_store, any_store)


async def test_workloads_with_objects_need_one_list_for_a_page() -> None:
    """The names of the objects follow from the workload's id, so each is deleted without a request that looks for it.

    A workload without objects needs no request.
    """
    with_objects = [Expired(f"{number}", True, 1) for number in range(1000)]
    stores = Stores([*with_objects, Expired("small", False, 1)])
    await sweeper_of(stores).sweep()
    assert stores.listed == ["echo/", "echo/"]
    each = ("payload", "result.1", "traceback.1")
    assert sorted(stores.deleted) == sorted(f"echo/{one.id}/{name}" for one in with_objects for name in each)
    assert stores.aborted == set(stores.deleted)
    assert len(stores.forgotten) == 1001


async def test_all_attempts_of_a_workload_may_have_left_objects() -> None:
    stores = Stores([Expired("a", True, 2), Expired("cancelled", True, 0)])
    await sweeper_of(stores).sweep()
    names = ("payload", "result.1", "result.2", "traceback.1", "traceback.2")
    assert sorted(stores.deleted) == [*(f"echo/a/{name}" for name in names), "echo/cancelled/payload"]


async def test_stale_uploads_need_one_list() -> None:
    stores = Stores(stale=["echo/a/payload", "echo/b/payload"])
    await sweeper_of(stores).sweep()
    assert stores.listed == ["echo/"]
    assert stores.deleted == stores.stale
    assert stores.aborted == set(stores.stale)


async def test_a_workload_is_forgotten_only_without_its_objects(caplog: pytest.LogCaptureFixture) -> None:
    """If S3 fails to delete an object, its workload is kept for the next sweep. The other workloads are forgotten."""
    stores = Stores([Expired("a", True, 1), Expired("b", True, 1)])
    stores.broken = "echo/a/result.1"
    await sweeper_of(stores).sweep()
    assert stores.forgotten == ["b"]
    assert [record.message for record in caplog.records] == [
        "expired data of an API not deleted, the next sweep will retry"
    ]
