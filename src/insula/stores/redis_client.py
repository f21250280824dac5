"""Clients of Redis: timeouts, retries, translation of errors, and the durability check."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError

from insula.errors import InsulaError, StoreFull, StoreUnavailable

RELAXED: Final = "relaxed"
DOORBELL_S: Final = 5
"""Seconds that a blocking read waits before it is repeated."""
BLOCKING_MAX: Final = 10_000
"""Most concurrent blocking reads; there is one for each watched API."""


class NotDurable(InsulaError):
    """Redis is configured to answer before a write is on disk, which breaks invariant I1."""


@contextmanager
def redis_errors(summary: str = "") -> Generator[None]:
    """Translate redis-py's errors: StoreFull at the memory limit, otherwise StoreUnavailable."""
    try:
        yield
    except OutOfMemoryError as error:
        raise StoreFull from error
    except (RedisError, OSError) as error:
        raise StoreUnavailable("Redis", str(error), summary=summary) from error


def connect(url: str) -> Redis:
    """Return a client for short commands that are safe to repeat: after a lost connection it retries for about 2 s.

    It does not retry after a timeout of 5 s, because a caller would wait for seven timeouts.
    """
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=6, supported_errors=(RedisConnectionError,))
    return Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2, retry=retry, client_name="insula")


def connect_blocking(url: str) -> Redis:
    """Return a client for reads that block for up to DOORBELL_S. It does not retry after an error."""
    retry = Retry(ExponentialBackoff(), retries=0)
    return Redis.from_url(
        url, socket_timeout=DOORBELL_S + 5, socket_connect_timeout=2, retry=retry, max_connections=BLOCKING_MAX
    )


async def check_durability(redis: Redis, durability: str) -> None:
    """Refuse a Redis that replies before its fsync, unless INSULA_DURABILITY is `relaxed`.

    Raises NotDurable, or StoreUnavailable if Redis does not answer.
    """
    if durability == RELAXED:
        return
    with redis_errors("Redis does not return its configuration"):
        found = await redis.config_get("appendonly", "appendfsync")
    if found.get("appendonly") != "yes" or found.get("appendfsync") != "always":
        raise NotDurable(
            f"Redis runs with appendonly {found.get('appendonly')} and appendfsync {found.get('appendfsync')}, so it "
            "answers before a write is on disk; set both (yes, always), or accept losses with INSULA_DURABILITY=relaxed"
        )
