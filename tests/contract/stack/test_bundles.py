"""A bundle is kept while a version needs it. It is deleted when no version does and it is a day old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from insula.bundles import Bundles
from insula.bundles.__main__ import store, sweep
from insula.errors import StoreUnavailable
from insula.registry import Registry
from insula.stores.object_keys import BUNDLES, bundle_object
from insula.stores.objects import Bucket, ObjectStore
from insula_local.seaweedfs.storage import BUCKET
from insula_results import bundle_sweeper
from tests.stack import Stack, running_stack

PROJECTS = Path(__file__).parents[2] / "projects"
NEW, OLD = "a" * 64, "b" * 64
AT_ONCE = timedelta(0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stack]:
    projects = [PROJECTS / "probe", PROJECTS / "probe-caller"]
    async with running_stack(projects, data=tmp_path_factory.mktemp("bundles")) as running:
        yield running


@pytest.fixture(autouse=True)
def own_s3(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the S3 variables of the services."""
    for name, value in stack.own_s3_env.items():
        monkeypatch.setenv(name, value)


def stored(stack: Stack) -> set[str]:
    found = stack.s3().list_objects_v2(Bucket=BUCKET, Prefix=BUNDLES).get("Contents", [])
    return {str(item.get("Key")) for item in found}


async def test_bundles_stay_while_a_version_needs_them(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    bundles, objects = Bundles(Bucket(BUCKET)), ObjectStore(Bucket(BUCKET))
    deployed = [stack.api(name).version for name in ("probe", "probe-caller")]
    await bundles.store(NEW, b"archive" * 1000)
    await bundles.store(OLD, b"archive")
    assert await bundles.fetch(NEW) == b"archive" * 1000
    await bundles.sweep(deployed)
    assert stored(stack) == {bundle_object(version) for version in (*deployed, NEW, OLD)}, "they are younger than a day"

    await store(objects, OLD, b"never read", fresh=timedelta(days=1))
    assert await bundles.fetch(OLD) == b"archive"
    await store(objects, OLD, b"again", fresh=AT_ONCE)
    assert await bundles.fetch(OLD) == b"again", "an old bundle is stored again, because a sweep may delete it soon"

    await sweep(objects, [*deployed, NEW], kept=AT_ONCE)
    assert capsys.readouterr().out == f"{bundle_object(OLD)}\n"
    assert stored(stack) == {bundle_object(version) for version in (*deployed, NEW)}
    with pytest.raises(StoreUnavailable, match="NoSuchKey"):
        await bundles.fetch(OLD)
    await sweep(objects, deployed, kept=AT_ONCE)
    assert stored(stack) == {bundle_object(version) for version in deployed}

    nowhere = Bundles(Bucket("no-such-bucket"))
    with pytest.raises(StoreUnavailable):
        await nowhere.check()


async def test_sweeps_continue_after_an_outage_of_a_store(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sweep keeps the versions of every API."""
    monkeypatch.setattr(bundle_sweeper, "FIRST_S", 0)
    monkeypatch.setattr(bundle_sweeper, "PERIOD_S", 0)
    kept: asyncio.Queue[set[str]] = asyncio.Queue()

    class UnavailableOnce(Bundles):
        unavailable = True

        async def sweep(self, versions: Iterable[str]) -> None:
            if self.unavailable:
                self.unavailable = False
                raise StoreUnavailable("S3")
            await super().sweep(versions := list(versions))
            kept.put_nowait(set(versions))

    async with Redis.from_url(stack.info["redis"]) as redis:
        sweeping = asyncio.create_task(bundle_sweeper.sweep_bundles(UnavailableOnce(Bucket(BUCKET)), Registry(redis)))
        deployed = {stack.api(name).version for name in ("probe", "probe-caller")}
        assert await kept.get() - {""} == deployed
        sweeping.cancel()
        await asyncio.wait({sweeping})
    assert stored(stack) == {bundle_object(version) for version in deployed}
