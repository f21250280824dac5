"""Programs that the worker runs for a release: pip, a dependencies.sh, the download of models, the handler.

Starts them in the release's view, reports their exit codes, and ends them together with every process they started.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Final

from insula_worker.view import Start

DEVNULL: Final = asyncio.subprocess.DEVNULL


class Program:
    """A started program. Start it in the main thread, because the kernel kills it when its starter thread ends."""

    def __init__(self, process: asyncio.subprocess.Process, start: Start, status: int) -> None:
        self._process: Final = process
        self._start: Final = start
        self._status: Final = status
        self._loop: Final = asyncio.get_running_loop()
        self._command_pid: Final[asyncio.Future[int]] = self._loop.create_future()
        if start.own_init:
            self._loop.add_reader(status, self._on_begun)
        else:
            self._command_pid.set_result(self.pid)
        self._ending: Final = asyncio.create_task(self._end(), name=f"program {process.pid}")

    @classmethod
    async def start(
        cls,
        start: Start,
        command: Sequence[str],
        directory: Path,
        variables: Mapping[str, str],
        *,
        stdout: IO[bytes] | int | None,
        stderr: IO[bytes] | int | None,
        keep: Sequence[int] = (),
    ) -> Program:
        """Start a program. `variables` are all its environment variables. `keep` are the descriptors that it inherits.

        Raises OSError if it cannot be started.
        """
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        words = os.memfd_create("command", 0)
        try:
            os.write(words, b"".join(os.fsencode(word) + b"\0" for word in command))
            os.lseek(words, 0, os.SEEK_SET)
            process = await asyncio.create_subprocess_exec(
                *start.command(command, theirs, words),
                stdin=DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=directory,
                env=variables,
                pass_fds=[*keep, *([theirs, words] if start.own_init else [])],
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
            os.close(words)
        return cls(process, start, ours)

    @property
    def pid(self) -> int:
        """Pid of the process that we started. All other processes of the program are its descendants."""
        return self._process.pid

    @property
    def generations(self) -> int:
        """Number of processes above the command's process: 2 with bubblewrap and `init`, 1 with bubblewrap, or 0."""
        return 2 if self._start.own_init else int(bool(self._start.words))

    async def command_pid(self) -> int:
        """Wait until the command's own process exists. Return its pid on the machine, or 0 if it is unknown."""
        return await self._command_pid

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """The program's stdout, if it was started with a pipe."""
        return self._process.stdout

    @property
    def stderr(self) -> asyncio.StreamReader | None:
        """The program's stderr, if it was started with a pipe."""
        return self._process.stderr

    async def wait(self) -> int:
        """Wait until the program has ended. Return its exit code, negative for a signal."""
        return await asyncio.shield(self._ending)

    def kill(self) -> None:
        """Kill the program and every process it started. Must not be called after `wait` returned: pids are reused.

        With a process namespace, kill its first process, bubblewrap's only child. The kernel then kills all others, and
        bubblewrap waits for them. Without one, kill the process group.
        """
        first = _children(self.pid) if self._start.own_init else []
        for pid in first:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not first:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _on_begun(self) -> None:
        """Set the command's pid. Called when `init` has started the command, or has ended."""
        self._loop.remove_reader(self._status)
        found = [command for first in _children(self.pid) for command in _children(first)]
        if not self._command_pid.done():  # the caller of `command_pid` may have been cancelled
            self._command_pid.set_result(found[0] if found else 0)

    async def _end(self) -> int:
        try:
            code = await self._process.wait()
            self._loop.remove_reader(self._status)
            reported = self._report()
        finally:
            os.close(self._status)
        if not self._command_pid.done():
            self._command_pid.set_result(0)
        if reported:
            return os.waitstatus_to_exitcode(int(reported))
        # Without a report, bubblewrap's exit code is used: 128 + n stands for signal n.
        return 128 - code if self._start.words and code > 128 else code

    def _report(self) -> bytes:
        try:
            return os.read(self._status, 16).strip()
        except BlockingIOError:  # bubblewrap was killed, and `init` still ends
            return b""


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:  # it ended
        return []


@asynccontextmanager
async def running(
    start: Start,
    command: Sequence[str],
    directory: Path,
    variables: Mapping[str, str],
    stdout: IO[bytes] | int,
    stderr: int = asyncio.subprocess.STDOUT,
) -> AsyncGenerator[Program]:
    """Start a command. The `async with` block must wait until the command ends. Raises OSError if it cannot be started.

    If the block raises, the command and every process it started are killed.
    """
    program = await Program.start(start, command, directory, variables, stdout=stdout, stderr=stderr)
    try:
        yield program
    except BaseException:
        program.kill()
        await program.wait()
        raise
