"""Keeps one part running: starts it, waits until it is ready, and restarts it after each death until it is stopped.

A part has the same ports and data after a restart, so its clients see only a short outage.
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
"""Returns whether the process with this pid is ready. May raise OSError while it is not."""


@dataclass(frozen=True)
class Part:
    """The definition of a part. `keep` are file descriptors that it inherits.

    A process that is not ready within `ready_s` is killed. A stop sends SIGTERM, and SIGKILL after `stop_s`.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    log: Path
    probe: Probe
    ready_s: float = 60
    stop_s: float = 1.5
    keep: tuple[int, ...] = ()
    announced: bool = True  # whether the view shows that it is ready
    take_line: Callable[[str], None] | None = None  # gets each line of stdout
    take_log_line: Callable[[str], None] | None = None  # gets each line of stderr


class Watcher(Protocol):
    """Receives the events of parts."""

    def starting(self, part: str) -> None:
        """The part starts for the first time."""

    def ready(self, part: str, seconds: float) -> None:
        """The part is ready, `seconds` after the start of its process."""

    def died(self, part: str, how: str, again_s: float, lines: list[str]) -> None:
        """The part ended without a stop; `how` is a phrase for the end. It starts again in `again_s`.

        `lines` are its last lines of output, empty if they are the same as at its previous death.
        """


@dataclass
class Backoff:
    """The delay before a part's next start. It doubles with each death in a row, up to LONGEST_DELAY_S.

    A part that ran for FORGIVEN_AFTER_S is started again after the first delay.
    """

    deaths: int = 0

    def after(self, alive_s: float) -> float:
        """Count a death after `alive_s` and return the delay in seconds."""
        self.deaths = 1 if alive_s >= FORGIVEN_AFTER_S else self.deaths + 1
        return min(FIRST_DELAY_S * 2.0 ** min(self.deaths - 1, 10), LONGEST_DELAY_S)


class Supervised:
    """Keeps one part running, from `run` until `stop` or `kill`."""

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
        """Start the part, and restart it after each death. Returns once it is stopped."""
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
        """Send SIGTERM, kill the part after `stop_s`, and wait until it has ended."""
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
        """Kill the part. It is not restarted."""
        self._stopping.set()
        if self._child is not None:
            self._child.kill()

    @property
    def pid(self) -> int | None:
        """The pid of the part's current process; None if there is none."""
        return self._child.pid if self._child is not None else None

    async def _live(self, started: float) -> tuple[int, str]:
        """Run the process once. Returns its exit code, and a phrase that says how it ended."""
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
            child.kill()  # has an effect only if we were cancelled
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
        """Return a function that takes the bytes of a stream, for the log, the tail and `take_line`."""

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
        # Not wait_for: before Python 3.12, it loses a cancellation that comes as the probe returns.
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await probe(pid)
    except (OSError, TimeoutError, EOFError, ValueError):
        return False
