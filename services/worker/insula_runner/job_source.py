"""The runner's end of the job queue: one message for each job, read when the job begins.

The supervisor has a copy of this end, and reads from it to take jobs back. A job begins when
the runner reads it, but not when the supervisor reads it. Any thread may take jobs. In a forked child the queue is
closed.
"""

from __future__ import annotations

import array
import errno
import os
import socket
from typing import Any, Callable, Dict, NamedTuple, Optional

from insula_runner.frames import JOB_BYTES_MAX, Frame, FrameInvalid, decode_frame

_DESCRIPTOR_BYTES = socket.CMSG_SPACE(array.array("i").itemsize)


class Job(NamedTuple):
    """One attempt. `number` is unique in this process. `id` and `trace_id` mark the handler's output.

    `direct_hosts` are hosts that this process reaches without a proxy from this job on.
    """

    number: int
    id: str
    trace_id: str
    content_type: str
    payload: bytes
    direct_hosts: Any = ()


class JobSource:
    """Takes jobs from the queue."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._socket.settimeout(None)
        os.register_at_fork(after_in_child=self._socket.close)

    def fileno(self) -> int:
        """Return the descriptor, which is readable if there is a job or the queue has ended; -1 in a forked child."""
        return self._socket.fileno()

    def take(self, wait: Optional[Callable[[int], None]] = None) -> Optional[Job]:
        """Return the next job, or None at the end of the queue. Raises FrameInvalid.

        Without `wait`, the call blocks. `wait` is called with the descriptor, and returns once it is readable.
        """
        while True:
            if wait is not None:
                wait(self.fileno())
            if self.fileno() < 0:
                raise SystemExit(0)  # a forked child that did not end, but returned to our code
            try:
                return self._receive(0 if wait is None else socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue  # the supervisor has taken it back

    def take_now(self) -> Optional[Job]:
        """Return the next job, or None at the end of the queue. Raises BlockingIOError if the queue is empty now."""
        return self._receive(socket.MSG_DONTWAIT)

    def end(self) -> None:
        """End the queue for all threads of this process."""
        self._socket.shutdown(socket.SHUT_RD)

    def _receive(self, flags: int) -> Optional[Job]:
        flags |= socket.MSG_CMSG_CLOEXEC
        message, ancillary, state, _ = self._socket.recvmsg(JOB_BYTES_MAX, _DESCRIPTOR_BYTES, flags)
        if state & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
            raise OSError(errno.EMFILE, "a payload was lost: the handler has too many open files")
        if not message:
            return None
        payload = read_file(ancillary[0][2]) if ancillary else None
        return decode_job(decode_frame(message), payload)


def read_file(data: bytes) -> bytes:
    """Return the payload: the content of the file whose descriptor, as C int, is `data`. Close the file."""
    descriptors = array.array("i")
    descriptors.frombytes(data[: descriptors.itemsize])
    with open(descriptors[0], "rb", buffering=0) as file:
        file.seek(0)
        return file.read()


def decode_job(frame: Frame, payload: Optional[bytes]) -> Job:
    """Return the job in a frame. If `payload` is None, the frame's body is the payload. Raises FrameInvalid."""
    header: Dict[str, Any] = frame.header
    if frame.type != "job":
        raise FrameInvalid(f"expected a job, got {frame.type!r}")
    content_type, hosts = header["content_type"], header.get("direct_hosts", ())
    body = frame.body if payload is None else payload
    return Job(header["job"], header["id"], header["trace_id"], content_type, body, hosts)
