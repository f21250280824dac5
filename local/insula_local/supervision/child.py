"""One child process. It is killed if this process ends. A Ctrl-C on the terminal does not reach it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, cast

from insula.process.tether import tethered

READ_BYTES: Final = 64 * 1024
OUTPUT_AFTER_END_S: Final = 0.5
"""How long the output is read after the child's end. A process that the child started may keep the pipe open."""

Take = Callable[[bytes], None]


class Child:
    """A running process. Create it on the event loop's thread: the kernel kills the process when that thread ends."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        *,
        take_stdout: Take,
        take_stderr: Take,
        keep: Sequence[int] = (),
    ) -> None:
        """Start the process. `keep` are file descriptors that it inherits. Raises OSError if the start fails."""
        self._process: Final = subprocess.Popen(
            tethered(command),
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=keep,
        )
        self.pid: Final = self._process.pid
        self._loop: Final = asyncio.get_running_loop()
        self._ended: Final[asyncio.Future[int]] = self._loop.create_future()
        self._pidfd: Final = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._reap)
        self._open: Final[dict[int, IO[bytes]]] = {}
        self._drained: Final = asyncio.Event()
        self._listen_to(self._process.stdout, take_stdout)
        self._listen_to(self._process.stderr, take_stderr)

    async def ended(self) -> int:
        """Wait for the end of the process and its output. Returns the exit code, negative for a signal."""
        code = await asyncio.shield(self._ended)
        with suppress(TimeoutError):
            async with asyncio.timeout(OUTPUT_AFTER_END_S):
                await self._drained.wait()
        for fd in list(self._open):
            self._close(fd)
        return code

    def terminate(self) -> None:
        """Send SIGTERM to the process."""
        if not self._ended.done():
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and its process group."""
        if not self._ended.done():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        with suppress(ProcessLookupError, PermissionError):
            # The group may still have processes. Kill it before the wait: until then no other process can get the pid.
            os.killpg(self.pid, signal.SIGKILL)
        self._ended.set_result(self._process.wait())

    def _listen_to(self, stream: IO[bytes] | None, take: Take) -> None:
        pipe = cast("IO[bytes]", stream)  # both are pipes
        os.set_blocking(pipe.fileno(), False)
        self._open[pipe.fileno()] = pipe
        self._loop.add_reader(pipe.fileno(), self._read, pipe.fileno(), take)

    def _read(self, fd: int, take: Take) -> None:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            take(data)
        else:
            self._close(fd)

    def _close(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._open.pop(fd).close()
        if not self._open:
            self._drained.set()
