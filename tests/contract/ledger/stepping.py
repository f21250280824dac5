"""A Redis client that a test can stop or kill between two commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from redis.asyncio import Redis

BeforeEach: TypeAlias = Callable[[], Awaitable[None]]


class Killed(Exception):
    """Simulates a SIGKILL between two commands."""


class _Stepping(Redis):
    before_each: BeforeEach

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        await self.before_each()
        return await cast(Any, super()).execute_command(*arguments, **options)

    async def transaction(self, *arguments: Any, **options: Any) -> Any:
        await self.before_each()
        return await super().transaction(*arguments, **options)


def stepping(url: str, before_each: BeforeEach) -> Redis:
    """Return a client that awaits `before_each` before each command. A transaction counts as one command."""
    client = cast(_Stepping, _Stepping.from_url(url))
    client.before_each = before_each
    return client


def after(commands: int, then: BeforeEach) -> BeforeEach:
    """Return a `before_each` that awaits `then` before each command after the first `commands`."""
    passed = 0

    async def before_each() -> None:
        nonlocal passed
        passed += 1
        if passed > commands:
            await then()

    return before_each


async def die() -> None:
    """Raise Killed."""
    raise Killed


@dataclass
class Stall:
    """Stops the client that awaits `wait`, until a test sets `over`."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> None:
        """Set `reached` and wait for `over`."""
        self.reached.set()
        await self.over.wait()

    async def reached_by(self, task: asyncio.Task[Any]) -> None:
        """Return once the task stalls, or has ended without stalling."""
        reached = asyncio.create_task(self.reached.wait())
        await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
