"""Sends concurrent Redis commands as one pipeline.

While one pipeline is in flight, new commands collect in the next one. So under load many commands share one round trip
and, with `appendfsync always`, one fsync (invariant I1). A single command is sent in the same turn of the loop.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeAlias

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from insula.ledger.scripts import Script
from insula.stores.redis_client import redis_errors

Command: TypeAlias = tuple[str | bytes | int, ...]

BATCH_MAX: Final = 512
"""Most commands in one pipeline. It bounds the memory of a batch, and how long Redis serves no other client."""


class Coalescer:
    """One queue of commands in front of one Redis client."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: list[tuple[Command, asyncio.Future[object]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def evaluate(self, script: Script, *keys_and_args: str | bytes | int, key_count: int) -> object:
        """Run `script`. It must be safe to run twice: the Redis client retries it if a reply is lost.

        Raises StoreFull when Redis is at its memory limit, StoreUnavailable when it does not answer.
        """
        with redis_errors():
            try:
                return await self._reply("EVALSHA", script.sha, key_count, *keys_and_args)
            except NoScriptError:  # Redis was restarted: its script cache is not on disk
                return await self._reply("EVAL", script.text, key_count, *keys_and_args)

    async def execute(self, name: str, *arguments: str | bytes | int) -> object:
        """Run one command in the next pipeline and return its reply. Raises the errors of `evaluate`."""
        with redis_errors():
            return await self._reply(name, *arguments)

    async def _reply(self, name: str, *arguments: str | bytes | int) -> object:
        # Encode here: a text that cannot be encoded (a lone surrogate) then fails its own caller, not the batch.
        encoded = tuple(part.encode() if isinstance(part, str) else part for part in arguments)
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.append(((name, *encoded), future))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        return await future

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                await self._send(batch)
        finally:
            self._sender = None

    async def _send(self, batch: list[tuple[Command, asyncio.Future[object]]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for command, _ in batch:
            pipeline.execute_command(*command)
        try:
            replies: list[object] = await pipeline.execute(raise_on_error=False)
        except Exception as error:  # noqa: BLE001 - each caller must get the error, else it waits without end
            replies = [error] * len(batch)
        for (_, future), reply in zip(batch, replies, strict=True):
            if future.done():  # the caller was cancelled
                continue
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)
