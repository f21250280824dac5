"""Sends concurrent Redis commands as one batch.

While one batch is in flight, new commands collect in the next one. So under load many commands share one round trip
and, with `appendfsync always`, one fsync (invariant I1). A single command is sent without delay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from insula.ledger.scripts import Script
from insula.stores.redis_client import redis_errors
from insula.stores.redis_wire import Call, Wire

BATCH_MAX: Final = 512
"""Most commands in one batch. It bounds the memory of a batch, and how long Redis serves no other client."""
RETRIES_S: Final = 2.0
"""Seconds for which a batch is sent again if the connection is lost."""
RETRY_S: Final = 0.05


class Coalescer:
    """Collects commands and sends them over one connection, one batch at a time."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._wire: Wire | None = None
        self._waiting: list[Call] = []
        self._sending = False  # a batch is in flight, or will be sent in this turn of the loop
        self._repair: asyncio.Task[None] | None = None

    async def evaluate(self, script: Script, *keys_and_args: str | bytes | int, key_count: int) -> object:
        """Run `script` and return its reply. It is sent again after a lost connection, so it must be safe to run twice.

        Raises StoreFull when Redis is at its memory limit, StoreUnavailable when it does not answer.
        """
        with redis_errors():
            try:
                return await self._reply("EVALSHA", script.sha, key_count, *keys_and_args)
            except NoScriptError:  # Redis was restarted: its script cache is not on disk
                return await self._reply("EVAL", script.text, key_count, *keys_and_args)

    async def execute(self, name: str, *arguments: str | bytes | int) -> object:
        """Run one command in the next batch and return its reply. Raises the errors of `evaluate`."""
        with redis_errors():
            return await self._reply(name, *arguments)

    async def execute_all(self, *commands: tuple[str | bytes | int, ...]) -> list[object]:
        """Run commands in this order, and return their replies. Raises the errors of `evaluate`.

        All commands are in one batch if it has room for them.
        """
        replies = [self._reply(*command) for command in commands]
        with redis_errors():
            try:
                return [await reply for reply in replies]  # without gather, which costs a turn of the loop
            except BaseException:
                for reply in replies:
                    if not reply.cancel() and not reply.cancelled():
                        reply.exception()  # asyncio logs an error that nobody has read
                raise

    def _reply(self, *command: str | bytes | int) -> asyncio.Future[object]:
        call = Call.of(*command)  # here, so that a text that cannot be encoded fails its own caller, not the batch
        self._waiting.append(call)
        if not self._sending:
            self._sending = True
            asyncio.get_running_loop().call_soon(self._send)
        return call.reply

    def _send(self) -> None:
        batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
        self._sending = bool(batch)
        if not batch:
            return
        if self._wire is not None and self._wire.is_open:
            self._wire.round_trip(batch).add_done_callback(partial(self._ended, batch))
        else:
            self._repair = asyncio.create_task(self._send_on_a_new_wire(batch))

    def _ended(self, batch: Sequence[Call], trip: asyncio.Future[None]) -> None:
        error = trip.exception()
        if isinstance(error, RedisConnectionError):
            self._repair = asyncio.create_task(self._send_on_a_new_wire(batch))
            return
        if error is not None:
            _refuse(batch, error)
        self._send()

    async def _send_on_a_new_wire(self, batch: Sequence[Call]) -> None:
        """Connect and send the calls that have no reply. Repeat this for up to RETRIES_S if the connection is lost."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + RETRIES_S
        try:
            while batch := [call for call in batch if not call.reply.done()]:
                try:
                    wire = await self._connect()
                    await wire.round_trip(batch)
                except RedisConnectionError:
                    if loop.time() >= until_s:
                        raise
                    await asyncio.sleep(RETRY_S)
        except Exception as error:  # noqa: BLE001 - each caller must get the error, else it waits without end
            _refuse(batch, error)
        self._send()

    async def _connect(self) -> Wire:
        former, self._wire = self._wire, None
        if former is not None:
            await former.release()
        self._wire = wire = await Wire.open(self._redis)
        return wire


def _refuse(batch: Sequence[Call], error: BaseException) -> None:
    for call in batch:
        call.answer(error)
