"""Coalescer sends concurrent commands to Redis in one round trip. Each caller gets its own reply or error."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from insula.errors import StoreUnavailable
from insula.ledger import coalescer
from insula.ledger.coalescer import BATCH_MAX, Coalescer
from insula.ledger.scripts import Script
from insula.stores.redis_client import connect
from tests.valkey import Valkey, running_valkey

READ = Script("return redis.call('GET', KEYS[1])")


@pytest.fixture
async def commands(redis: Redis) -> Coalescer:
    """Return a coalescer with an open connection."""
    commands = Coalescer(redis)
    await commands.execute("PING")
    return commands


@contextmanager
def stopped(valkey: Valkey) -> Generator[None]:
    """Stop the server until the block ends."""
    assert valkey.process is not None
    valkey.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        valkey.process.send_signal(signal.SIGCONT)


async def test_commands_of_one_turn_share_a_round_trip(redis: Redis, commands: Coalescer) -> None:
    """BATCH_MAX commands that start in one turn of the event loop go to Redis in one batch."""
    reads = await reads_of_redis(redis)
    replies = await asyncio.gather(*(commands.execute("ECHO", str(number)) for number in range(BATCH_MAX)))
    assert replies == [str(number).encode() for number in range(BATCH_MAX)]
    assert await reads_of_redis(redis) - reads <= 4  # one for INFO; Redis reads up to 16 KiB at once


async def reads_of_redis(redis: Redis) -> int:
    return int((await redis.info("stats"))["total_reads_processed"])


async def test_each_caller_gets_its_own_error(commands: Coalescer) -> None:
    results = await asyncio.gather(
        commands.execute("ECHO", "a"),
        commands.execute("NONSENSE"),
        commands.execute("ECHO", "\ud800"),
        commands.execute_all(("ECHO", "b"), ("NONSENSE",), ("ECHO", "c")),
        commands.execute_all(("ECHO", "d"), ("ECHO", 5)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [
        *(bytes, StoreUnavailable, UnicodeEncodeError),
        *(StoreUnavailable, list),
    ]


async def test_a_script_that_redis_does_not_know_is_sent_as_text(redis: Redis, commands: Coalescer) -> None:
    await redis.set("insula:apis", "x", ex=60)
    assert await commands.evaluate(READ, "insula:apis", key_count=1) == b"x"
    await redis.script_flush()
    assert await commands.evaluate(READ, "insula:apis", key_count=1) == b"x"


async def test_a_cancelled_caller_does_not_lose_the_replies_of_others(valkey: Valkey, commands: Coalescer) -> None:
    """A call that has been sent, and a call that waits, are cancelled. The calls beside them get their own replies."""
    with stopped(valkey):
        calls = [asyncio.create_task(commands.execute("ECHO", letter)) for letter in "ab"]
        for _ in range(3):
            await asyncio.sleep(0)  # they are sent
        calls += [asyncio.create_task(commands.execute("ECHO", letter)) for letter in "cd"]
        await asyncio.sleep(0)
        for cancelled in (calls[0], calls[2]):
            cancelled.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, bytes, asyncio.CancelledError, bytes]
    assert [results[1], results[3]] == [b"b", b"d"]


async def test_a_call_without_an_answer_raises_after_the_timeout(valkey: Valkey) -> None:
    """The call is not sent again. The next call has a new connection and gets its own reply."""
    client = connect(f"{valkey.url}?socket_timeout=0.2")
    commands = Coalescer(client)
    await commands.execute("PING")
    with stopped(valkey), pytest.raises(StoreUnavailable, match="Timeout reading from socket"):
        await commands.execute("ECHO", "a")
    assert await commands.execute("ECHO", "b") == b"b"
    await client.aclose()


class Cut:
    """A relay that forwards requests, and closes the connection instead of forwarding the next reply, `times` times."""

    def __init__(self, port: int) -> None:
        self.port, self.times = port, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.port)
        while request := await reader.read(65536):
            inner_writer.write(request)
            reply = await inner_reader.read(65536)
            if self.times and b"INCR" in request:
                self.times -= 1
                break
            writer.write(reply)
        inner_writer.close()
        writer.close()


@pytest.fixture
async def cut(valkey: Valkey, redis: Redis) -> AsyncIterator[tuple[Cut, Coalescer]]:
    relay = Cut(valkey.port)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    client = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    yield relay, Coalescer(client)
    await client.aclose()
    server.close()
    await redis.delete("insula:apis")


async def test_a_lost_reply_is_asked_for_again(cut: tuple[Cut, Coalescer]) -> None:
    relay, commands = cut
    assert await commands.execute("INCR", "insula:apis") == 1
    relay.times = 2
    assert await commands.execute("INCR", "insula:apis") == 4
    assert await commands.execute("INCR", "insula:apis") == 5


async def test_a_server_that_closes_each_connection_raises(
    cut: tuple[Cut, Coalescer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coalescer, "RETRIES_S", 0.2)
    relay, commands = cut
    relay.times = 1_000_000
    with pytest.raises(StoreUnavailable, match="Connection lost"):
        await commands.execute("INCR", "insula:apis")
    relay.times = 0
    assert await commands.execute("INCR", "insula:apis")


async def test_a_restart_of_redis_loses_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running_valkey(tmp_path) as valkey:
        client = connect(valkey.url)
        commands = Coalescer(client)
        assert await commands.execute("INCR", "a") == 1
        valkey.kill()
        calls = [asyncio.create_task(commands.execute("INCR", "a")) for _ in range(3)]
        await asyncio.to_thread(valkey.start)
        assert sorted(cast(list[int], await asyncio.gather(*calls))) == [2, 3, 4]
        await client.aclose()
    assert caplog.records == []


async def test_while_redis_is_gone_every_call_raises_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    lost = Coalescer(connect("redis://127.0.0.1:1"))
    calls = [lost.execute("PING"), lost.execute_all(("PING",), ("PING",)), lost.execute("PING")]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 3
    del calls, results
    assert caplog.records == []
