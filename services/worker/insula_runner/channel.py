"""The runner's end of the socket to its supervisor.

Any thread of this process may use it. Programs that the process starts do not inherit it. In a forked child it is
closed.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from typing import Callable, Deque, Optional

from insula_runner.frames import RECEIVE_BYTES, Buffer, Frame, FrameBuffer, Header, encode_frame


class Channel:
    """Sends and receives frames over a blocking socket."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._socket.settimeout(None)
        self._write_lock = threading.Lock()
        self._received: Deque[Frame] = deque()
        self._buffer = FrameBuffer()
        self._space = bytearray(RECEIVE_BYTES)
        self.closed = False
        os.register_at_fork(after_in_child=self._abandon)

    def _abandon(self) -> None:
        """Close the copy of a forked child: the supervisor must get the frames, and the end of file, of one process."""
        self.closed = True
        self._write_lock = threading.Lock()
        self._socket.close()

    def send(self, header: Header, body: Buffer = b"") -> None:
        """Write one frame; do nothing if the channel is closed. Raises OSError if the supervisor has ended."""
        frame = encode_frame(header, body)
        if self.closed:
            return
        with self._write_lock:
            self._socket.sendall(frame)

    @property
    def has_frame(self) -> bool:
        """Whether a whole frame was read already. If False, there may still be one in the socket."""
        return bool(self._received)

    def receive(self, wait: Optional[Callable[[int], None]] = None) -> Optional[Frame]:
        """Return the next frame, or None if the supervisor has closed its side. Raises FrameInvalid.

        If `wait` is given, it is called with the descriptor. It has to return once there are bytes to read.
        """
        space = memoryview(self._space)
        while not self._received:
            if wait is not None:
                wait(self._socket.fileno())
            if self.closed:
                raise SystemExit(0)  # a forked child that did not end, but returned to our code
            received_bytes = self._socket.recv_into(space)
            if received_bytes == 0:
                return None
            self._received.extend(self._buffer.feed(space[:received_bytes]))
        return self._received.popleft()
