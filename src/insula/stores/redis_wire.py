"""A connection to Redis that sends a batch of commands at once and gives each reply to its caller.

redis-py opens the connection: address, TLS, credentials, time-outs and errors are those of its client. Then this module
reads and writes it without redis-py, because redis-py takes longer for a command than Redis does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from insula.stores.redis_client import naming_the_user

_pack: Final = cast("Callable[[tuple[str | bytes | int, ...]], bytes]", hiredis.pack_command)  # its stub is wrong
INCOMPLETE: Final = object()
"""The value that hiredis' parser returns if the next reply has not arrived completely."""


@dataclass(frozen=True, slots=True)
class Call:
    """A command in Redis' protocol, and the future of its reply, which is done if the caller was cancelled."""

    command: bytes
    reply: asyncio.Future[object]

    @classmethod
    def of(cls, *command: str | bytes | int) -> Call:
        """Encode a command in Redis' protocol. Raises UnicodeEncodeError for a lone surrogate."""
        return cls(_pack(command), asyncio.get_running_loop().create_future())

    def answer(self, reply: object) -> None:
        """Set the future's result or, if `reply` is an Exception, its error. Does nothing if the future is done."""
        if self.reply.done():
            return
        if isinstance(reply, Exception):
            self.reply.set_exception(reply)
        else:
            self.reply.set_result(reply)


class Wire(asyncio.Protocol):
    """One connection. At most one batch is in flight on it."""

    @classmethod
    async def open(cls, redis: Redis) -> Wire:
        """Return a Wire with a connection from the pool of `redis`. Raises RedisError after the client's retries."""
        pool: Any = redis.connection_pool  # redis-py leaves it untyped
        return cls(pool, await pool.get_connection())

    def __init__(self, pool: Any, connection: Any) -> None:
        """`connection` belongs to redis-py's `pool` and is connected."""
        self._pool, self._connection = pool, connection
        self._transport: asyncio.Transport = connection._writer.transport
        self._former = self._transport.get_protocol()  # redis-py closes the connection through it
        self._transport.set_protocol(self)
        self._reader = hiredis.Reader(notEnoughData=INCOMPLETE, replyError=connection._parser.parse_error)
        self._calls = deque[Call]()
        self._trip: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether the connection is open, so that a batch may be sent."""
        return not self._transport.is_closing()

    def round_trip(self, calls: Sequence[Call]) -> asyncio.Future[None]:
        """Send the commands. The future is done once each call has its reply.

        Raises RedisConnectionError if the connection is closed already. If it is lost later, the future gets a
        RedisConnectionError (such as BusyLoadingError); after the time-out, a RedisTimeoutError. Then the remaining
        calls have no reply, and the connection is closed.
        """
        if not self.is_open:
            raise RedisConnectionError("Connection lost")
        loop = asyncio.get_running_loop()
        self._calls.extend(calls)
        self._trip = trip = loop.create_future()
        self._timer = loop.call_later(self._connection.socket_timeout, self._time_out)
        self._transport.write(b"".join([call.command for call in calls]))
        return trip

    def data_received(self, data: bytes) -> None:
        """Parse the replies that have arrived, and set them in their calls. asyncio calls this."""
        self._reader.feed(data)
        while self._calls and (reply := self._reader.gets()) is not INCOMPLETE:
            if isinstance(reply, hiredis.PushNotification):
                continue
            if isinstance(reply, RedisConnectionError):
                self._fail(reply)
                return
            if isinstance(reply, ReadOnlyError):  # a failover has made the server a replica
                self._transport.abort()
            if isinstance(reply, ResponseError):
                reply = naming_the_user(reply, self._connection.username)
            self._calls.popleft().answer(reply)
        if not self._calls:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the batch in flight with a RedisConnectionError. asyncio calls this."""
        self._former.connection_lost(exc)
        self._end(RedisConnectionError(f"Connection lost: {exc or 'Redis has closed it'}"))

    async def release(self) -> None:
        """Close the connection and return it to the pool of its client, which may open it again."""
        await self._connection.disconnect(nowait=True)
        await self._pool.release(self._connection)

    def _time_out(self) -> None:
        self._fail(RedisTimeoutError("Timeout reading from socket"))

    def _fail(self, error: Exception) -> None:
        self._transport.abort()
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        trip, self._trip = self._trip, None
        if self._timer is not None:
            self._timer.cancel()
        self._calls.clear()
        if trip is None or trip.done():
            return
        if error is None:
            trip.set_result(None)
        else:
            trip.set_exception(error)
