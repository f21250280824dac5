"""Waits for work without polling: a blocking read of an API's queue that claims nothing."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from insula.keys import ApiKeys
from insula.stores.redis_client import redis_errors


class Doorbell:
    """Waits for new entries in the queue of one API."""

    def __init__(self, blocking_redis: Redis, api: str) -> None:
        self._redis: Any = blocking_redis  # redis-py leaves the replies of stream commands untyped
        self._queue = ApiKeys(api).queue

    async def wait(self, newest: str, timeout_s: float) -> None:
        """Return once the queue holds an entry after `newest`, or `timeout_s` has passed. Raises StoreUnavailable."""
        if timeout_s <= 0:
            return
        block_ms = max(1, int(timeout_s * 1000))
        with redis_errors():
            await self._redis.execute_command("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", self._queue, newest)
