"""The runner's end of the stream to its supervisor.

Any thread of the runner may use this end. Programs that the runner starts do not inherit it. In a forked child, this
end is closed.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from typing import Deque, Optional

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
        self.closed = False
        os.register_at_fork(after_in_child=self._abandon)

    def _abandon(self) -> None:
        """Close the socket in a forked child. Else the supervisor would get frames of two processes, and a late EOF."""
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

    def receive(self) -> Optional[Frame]:
        """Return the next frame, or None if the supervisor has closed its side. Raises FrameInvalid."""
        while not self._received:
            data = self._socket.recv(RECEIVE_BYTES)
            if not data:
                return None
            self._received.extend(self._buffer.feed(data))
        return self._received.popleft()
