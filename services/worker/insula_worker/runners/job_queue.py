"""The queue of jobs from a worker to one runner. Both sides can take jobs from it.

It is a SOCK_SEQPACKET socket pair with one message for each job. A job begins when the runner reads it. The worker
holds a copy of the reading end. To take back the jobs that have not begun, the worker reads them itself. The kernel
gives each message to one reader. After a crash, the jobs that are still in the queue have not begun.
"""

from __future__ import annotations

import array
import asyncio
import socket
from collections.abc import Callable
from typing import Final

from insula_runner.frames import JOB_BYTES_MAX, decode_frame

QUEUED_BYTES: Final = 4 * JOB_BYTES_MAX
"""Requested size of the kernel's buffer. The kernel may allow less; then `put` returns False earlier."""


class JobQueue:
    """The worker's side of the queue."""

    def __init__(self) -> None:
        self._writing, self._reading = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._writing.setblocking(False)
        self._writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUED_BYTES)

    @property
    def reading_end(self) -> int:
        """The descriptor that the runner gets."""
        return self._reading.fileno()

    def put(self, message: bytes, file: int | None = None) -> bool:
        """Add a job: a frame of at most JOB_BYTES_MAX bytes, and the descriptor of its payload's file.

        Return False if the queue is full or has ended. An empty queue always has room.
        """
        carried = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))] if file is not None else []
        try:
            self._writing.sendmsg([message], carried)
        except (BlockingIOError, BrokenPipeError):  # full, or ended
            return False
        return True

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call `resume` once, on the event loop, when the queue has room again."""
        asyncio.get_running_loop().add_writer(self._writing, self._resume, resume)

    def _resume(self, resume: Callable[[], None]) -> None:
        asyncio.get_running_loop().remove_writer(self._writing)
        resume()

    def take_back(self) -> list[int]:
        """Remove from the queue all jobs that have not begun. Return their numbers."""
        taken: list[int] = []
        while True:
            try:
                # A message's descriptors are dropped, because there is no room for them.
                message = self._reading.recv(JOB_BYTES_MAX, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return taken
            if not message:
                return taken
            taken.append(decode_frame(message).header["job"])

    def end(self) -> None:
        """Accept no more jobs. The runner runs the jobs that are left, then ends."""
        self._writing.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the worker's copies of both ends."""
        asyncio.get_running_loop().remove_writer(self._writing)
        self._writing.close()
        self._reading.close()
