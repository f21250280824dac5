"""The ledger when Redis is killed, is not durable or is unavailable."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from insula.errors import InsulaError, StoreUnavailable
from insula.ids import new_id
from insula.ledger import Claimant, LedgerPolicy, Payload, Result, WorkloadLedger
from insula.status import Status
from insula.stores.redis_client import NotDurable, check_durability, connect
from tests.valkey import running_valkey


async def test_i1_durable_accept_what_was_answered_survives_kill_9(tmp_path: Path, payload: Payload) -> None:
    """Redis is killed during submits. After its restart, each accepted workload exists, and the scripts load again."""
    with running_valkey(tmp_path) as valkey:
        ledger = WorkloadLedger(connect(valkey.url), LedgerPolicy())
        await ledger.open("echo")
        answered: list[str] = []
        enough = asyncio.Event()

        async def keep_submitting() -> None:
            while True:
                id = new_id()
                await ledger.submit("echo", id, payload, queue_limit=100_000)
                answered.append(id)
                if len(answered) == 500:
                    enough.set()

        submitters = [asyncio.create_task(keep_submitting()) for _ in range(20)]
        async with asyncio.timeout(60):
            await enough.wait()
        valkey.kill()
        with pytest.raises(StoreUnavailable):
            await asyncio.gather(*submitters)
        await asyncio.gather(*submitters, return_exceptions=True)
        valkey.start()
        records = await asyncio.gather(*(ledger.read("echo", id) for id in answered))
        assert all(record is not None and record.status is Status.IN_QUEUE for record in records)

        _, [claim] = await ledger.claim("echo", Claimant("alice", "v1", ""), count=1)
        await ledger.finish(claim.lease, Result(inline=b"{}"))


async def test_a_redis_that_answers_before_its_fsync_is_refused(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as valkey:
        redis = connect(valkey.url)
        await check_durability(redis, "strict")
        await redis.config_set("appendfsync", "everysec")
        with pytest.raises(NotDurable, match="INSULA_DURABILITY=relaxed"):
            await check_durability(redis, "strict")
        await check_durability(redis, "relaxed")
        await redis.aclose()


async def test_without_redis_a_call_raises_an_error_that_names_redis() -> None:
    ledger = WorkloadLedger(connect("redis://127.0.0.1:1"), LedgerPolicy())
    with pytest.raises(InsulaError, match="Redis"):
        await ledger.read("echo", new_id())


async def test_a_write_that_uvloop_refuses_is_repeated_on_another_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the connection is closed, uvloop raises RuntimeError at a write. asyncio raises nothing."""
    writelines, refusals = asyncio.StreamWriter.writelines, ["the handler is closed"]

    def refuse_once(writer: asyncio.StreamWriter, data: Any) -> None:
        if refusals:
            raise RuntimeError(refusals.pop())
        writelines(writer, data)

    with running_valkey(tmp_path) as valkey:
        client: Any = connect(valkey.url)
        await client.ping()
        monkeypatch.setattr(asyncio.StreamWriter, "writelines", refuse_once)
        assert await client.ping()
        assert not refusals
        await client.aclose()
