"""One part's life: started, ready, and started again after every death until it is told to stop.

A part keeps its ports and its data across restarts, so what talks to it only sees a short outage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from insula.process.exit_code import describe_end
from insula_local.supervision.child import Child
from insula_local.supervision.output import Lines, Log, Tail

PROBE_EVERY_S: Final = 0.03
PROBE_TIMEOUT_S: Final = 2.0
FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 10.0
FORGIVEN_AFTER_S: Final = 30.0

Probe = Callable[[int], Awaitable[bool]]
"""Whether the process of this pid is ready. Answers False, or raises OSError, while it is not."""


@dataclass(frozen=True)
class Part:
    """What a part is. `keep` are file descriptors it inherits."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    log: Path
    probe: Probe
    ready_s: float = 60
    stop_s: float = 1.5
    keep: tuple[int, ...] = ()
    announced: bool = True  # that it is ready means something to the user
    take_line: Callable[[str], None] | None = None  # of its stdout
    take_log_line: Callable[[str], None] | None = None  # of its stderr


class Watcher(Protocol):
    """Who is told what becomes of the parts."""

    def starting(self, part: str) -> None:
        """A process of the part was asked for, for the first time."""

    def ready(self, part: str, seconds: float) -> None:
        """It is ready, so long after it was asked for."""

    def died(self, part: str, how: str, again_s: float, lines: list[str]) -> None:
        """It ended unasked; `lines` are its last ones, if they may tell why and are not those of the last time."""


@dataclass
class Backoff:
    """How long to wait before the next start: doubles with each death in a row, forgiven after a longer life."""

    deaths: int = 0

    def after(self, alive_s: float) -> float:
        """The delay that follows a life of `alive_s`."""
        self.deaths = 1 if alive_s >= FORGIVEN_AFTER_S else self.deaths + 1
        return min(FIRST_DELAY_S * 2.0 ** min(self.deaths - 1, 10), LONGEST_DELAY_S)


class Supervised:
    """Keeps one part running."""

    def __init__(self, part: Part, watcher: Watcher) -> None:
        self.part: Final = part
        self.ready: Final = asyncio.Event()
        self.backoff: Final = Backoff()
        self.last_words: list[str] = []
        self._watcher: Final = watcher
        self._log: Final = Log(part.log)
        self._tail: Final = Tail()
        self._child: Child | None = None
        self._overdue = False
        self._stopping: Final = asyncio.Event()
        self._over: Final = asyncio.Event()
        self._over.set()  # nothing runs yet

    async def run(self) -> None:
        """Start the part again and again; returns once it was stopped."""
        self._over.clear()
        self._watcher.starting(self.part.name)
        try:
            while not self._stopping.is_set():
                started = time.monotonic()
                code, how = await self._live(started)
                if self._stopping.is_set():
                    return
                delay_s = self.backoff.after(time.monotonic() - started)
                lines = self._tail.lines() if code > 0 else []
                news, self.last_words = lines if lines != self.last_words else [], lines
                self._watcher.died(self.part.name, how, delay_s, news)
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._stopping.wait()
        finally:
            self._log.close()
            self._over.set()

    async def stop(self) -> None:
        """Ask the part to end, insist after its `stop_s`, and wait until it has."""
        self._stopping.set()
        if self._child is not None:
            self._child.terminate()
        try:
            async with asyncio.timeout(self.part.stop_s):
                await self._over.wait()
        except TimeoutError:
            self.kill()
            await self._over.wait()

    def kill(self) -> None:
        """End the part now, for good."""
        self._stopping.set()
        if self._child is not None:
            self._child.kill()

    @property
    def pid(self) -> int | None:
        """The process that is the part at the moment."""
        return self._child.pid if self._child is not None else None

    async def _live(self, started: float) -> tuple[int, str]:
        """One life: the exit code, and how it ended in words."""
        self._tail.clear()
        self._overdue = False
        try:
            self._child = child = self._spawn()
        except OSError as error:
            return 1, f"could not be started: {error}"
        try:
            async with asyncio.TaskGroup() as group:
                becoming = group.create_task(self._become_ready(child, started))
                code = await child.ended()
                becoming.cancel()
        finally:
            child.kill()  # only when we are cancelled is there still something to end
            self._child = None
            self.ready.clear()
        return (1, f"was not ready within {self.part.ready_s:g} s") if self._overdue else (code, describe_end(code))

    def _spawn(self) -> Child:
        part = self.part
        return Child(
            part.command,
            part.environment,
            part.directory,
            take_stdout=self._taker(part.take_line),
            take_stderr=self._taker(part.take_log_line),
            keep=part.keep,
        )

    def _taker(self, take_line: Callable[[str], None] | None) -> Callable[[bytes], None]:
        """Takes a stream of the part's: into the log, its last lines into the tail, and each line to `take_line`."""

        def take(line: str) -> None:
            self._tail.add(line)
            if take_line is not None:
                take_line(line)

        lines = Lines(take)

        def feed(data: bytes) -> None:
            self._log.write(data)
            lines.feed(data)

        return feed

    async def _become_ready(self, child: Child, started: float) -> None:
        try:
            async with asyncio.timeout(self.part.ready_s):
                while not await _answers(self.part.probe, child.pid):  # noqa: ASYNC110 - another process' condition
                    await asyncio.sleep(PROBE_EVERY_S)
        except TimeoutError:
            self._overdue = True
            child.kill()
            return
        self.ready.set()
        self._watcher.ready(self.part.name, time.monotonic() - started)


async def _answers(probe: Probe, pid: int) -> bool:
    try:
        # Not wait_for: until Python 3.12 it swallows a cancellation that comes as the probe returns.
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await probe(pid)
    except (OSError, TimeoutError, EOFError, ValueError):
        return False
