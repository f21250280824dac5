"""Clients of Redis: credentials, timeouts, retries, translation of errors, and the durability check."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from insula.errors import InsulaError, StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

DENIED_IN_SCRIPT: Final = "ACL failure in script"
IN_A_SCRIPT: Final = "user_script"
"""Redis' name for a script. Redis adds it to the text of an error that occurs in a script."""
RELAXED: Final = "relaxed"
DOORBELL_S: Final = 5
"""Seconds that a blocking read waits before it is repeated."""
BLOCKING_MAX: Final = 10_000
"""Most concurrent blocking reads; there is one for each watched API."""

LOOK_S: Final = 2.0
"""How long `answers` waits for Redis."""


class NotDurable(InsulaError):
    """Redis is configured to answer before a write is on disk, which breaks invariant I1."""


def complete_url(url: str, user: str = "", password: str = "", ca_file: Path | None = None) -> str:
    """Return the URL with its user, password and CA file replaced by those given. Empty arguments replace nothing.

    Raises ValueError for a malformed URL. The error text has no part of the URL, because the URL may have a password.
    """
    try:
        given = urlsplit(url)
        userinfo, _, host = given.netloc.rpartition("@")
        own_user, _, own_password = userinfo.partition(":")
        name, secret = quote(user, safe="") or own_user, quote(password, safe="") or own_password
        completed = given._replace(netloc=f"{name}:{secret}@{host}" if name or secret else host)
        if ca_file is not None:
            options = dict(parse_qsl(given.query)) | {"ssl_ca_certs": str(ca_file.absolute())}
            completed = completed._replace(query=urlencode(options, safe="/"))
        parse_url(completed.geturl())
    except ValueError:
        raise ValueError(
            "it is not a URL such as redis://HOST:PORT/0, or its password is not percent-encoded"
        ) from None
    return completed.geturl()


@contextmanager
def redis_errors(summary: str = "") -> Generator[None]:
    """Translate redis-py's errors in the `with` block: StoreFull at the memory limit, otherwise StoreUnavailable.

    `summary` replaces the text "Redis does not answer".
    """
    try:
        yield
    except OutOfMemoryError as error:
        raise StoreFull from error
    except AuthenticationError as error:
        advice = "check INSULA_REDIS_USER and INSULA_REDIS_PASSWORD"
        raise StoreUnavailable("Redis", f"{error}; {advice}", summary="Redis refuses the user or password") from error
    except NoPermissionError as error:
        advice = "give the user the ACL rules of docs/redis-and-s3.md"
        raise StoreUnavailable("Redis", f"{error}; {advice}", summary="Redis denies a command to its user") from error
    except (RedisError, OSError) as error:
        if advice := _advice_on_certificate(error):
            raise StoreUnavailable("Redis", f"{error}; {advice}", summary="Redis' certificate is refused") from error
        raise StoreUnavailable("Redis", str(error), summary=summary) from error


def is_damage(error: Exception) -> bool:
    """Return whether a script failed because of the data in Redis, such as a key of another type. A retry is useless.

    Returns False for outages, limits and permissions, for which redis-py has error classes, and for a slot that moves
    to another node of a cluster.
    """
    cause = error.__cause__
    if not isinstance(error, StoreUnavailable) or type(cause) is not ResponseError:
        return False
    return IN_A_SCRIPT in str(cause) and "cluster" not in str(cause)


def _advice_on_certificate(error: BaseException) -> str:
    """Return what to do if the cause of `error` is a refused certificate, else "".

    redis-py raises its own error while it handles an error of the module ssl.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return ""
    if "not valid for" in str(cause):
        return "use the name in the certificate as the host of INSULA_REDIS_URL"
    return "set INSULA_REDIS_CA_FILE to the certificates of its CA"


def connect(url: str) -> Redis:
    """Return a client for short commands that are safe to repeat: after a lost connection it retries for about 2 s.

    It does not retry after a time-out of 5 s, because a caller would wait for seven time-outs.
    """
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=6, supported_errors=(RedisConnectionError,))
    return _client(url, socket_timeout=5, socket_connect_timeout=2, retry=retry, client_name="insula")


def connect_blocking(url: str) -> Redis:
    """Return a client for reads that block for up to DOORBELL_S. It does not retry after an error."""
    retry = Retry(ExponentialBackoff(), retries=0)
    return _client(
        url, socket_timeout=DOORBELL_S + 5, socket_connect_timeout=2, retry=retry, max_connections=BLOCKING_MAX
    )


def _client(url: str, **options: Any) -> Redis:
    redis = Redis.from_url(url, driver_info=None, **options)  # else each connection sends CLIENT SETINFO twice
    pool = redis.connection_pool
    pool.connection_class = _careful(pool.connection_class)
    return redis


def _careful(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return a subclass of `kind` whose permission errors name the user. Redis names it for some commands only.

    A connection is closed after the error READONLY: its server has become a replica, and a new connection finds the
    primary.

    A send does not use `asyncio.wait_for`, as redis-py does. On Python 3.11 that function loses a cancellation that
    arrives when the send has just ended (CPython issue gh-86296), and then a stopping process never ends.
    """
    plain: Any = kind

    async def send_packed_command(self: Any, *arguments: Any, **options: Any) -> None:
        timeout_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(timeout_s):
                await plain.send_packed_command(self, *arguments, **options)
        except TimeoutError:
            raise RedisTimeoutError("Timeout writing to socket") from None
        except RuntimeError as error:  # of uvloop, if Redis has closed the connection; asyncio would ignore the write
            raise RedisConnectionError(str(error)) from error
        finally:
            self.socket_timeout = timeout_s

    async def read_response(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return await plain.read_response(self, *arguments, **options)
        except ReadOnlyError:
            self.mark_for_reconnect()
            raise
        except ResponseError as error:
            raise naming_the_user(error, self.username) from None

    careful = {"read_response": read_response, "send_packed_command": send_packed_command}
    return type(kind.__name__, (kind,), careful)


def naming_the_user(error: ResponseError, user: str | None) -> ResponseError:
    """Return a permission error with the user's name in its text. Return any other error unchanged."""
    if isinstance(error, NoPermissionError) or str(error).startswith(DENIED_IN_SCRIPT):
        return NoPermissionError(f"user {user or 'default'}: {error}")
    return error


async def answers(redis: Redis) -> bool:
    """Return whether PING succeeds within LOOK_S. It fails while Redis loads its data or cannot write to the disk."""
    client: Any = redis  # redis-py leaves the reply untyped
    try:
        async with asyncio.timeout(LOOK_S):
            await client.ping()
    except (RedisError, OSError, TimeoutError):
        return False
    return True


async def check_durability(redis: Redis, durability: str) -> None:
    """Check that Redis replies to a write only once it is on disk. With `durability` "relaxed", check nothing.

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
