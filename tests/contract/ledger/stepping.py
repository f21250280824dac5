"""A Redis client that a test holds up, or kills, between two commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from redis.asyncio import Redis

BeforeEach: TypeAlias = Callable[[], Awaitable[None]]


class Killed(Exception):
    """Stands for kill -9 between two commands."""


class _Stepping(Redis):
    before_each: BeforeEach

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        await self.before_each()
        return await cast(Any, super()).execute_command(*arguments, **options)

    async def transaction(self, *arguments: Any, **options: Any) -> Any:
        await self.before_each()
        return await super().transaction(*arguments, **options)


def stepping(url: str, before_each: BeforeEach) -> Redis:
    """A client that awaits `before_each` before each command; a transaction is one."""
    client = cast(_Stepping, _Stepping.from_url(url))
    client.before_each = before_each
    return client


def after(commands: int, then: BeforeEach) -> BeforeEach:
    """Let so many commands pass, and then await `then` before each."""
    passed = 0

    async def before_each() -> None:
        nonlocal passed
        passed += 1
        if passed > commands:
            await then()

    return before_each


async def die() -> None:
    """End here."""
    raise Killed


@dataclass
class Stall:
    """Holds up the client that awaits it, until it may go on."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> None:
        """Stall here."""
        self.reached.set()
        await self.over.wait()

    async def reached_by(self, task: asyncio.Task[Any]) -> None:
        """Return once the task stalls, or has ended before it came so far."""
        reached = asyncio.create_task(self.reached.wait())
        await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
