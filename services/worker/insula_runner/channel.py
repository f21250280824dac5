"""The runner's end of the socket to its supervisor.

Owns who may use it: this process, from any thread, and nobody it forks or starts. A forked child finds it closed.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from typing import Callable, Deque, Optional

from insula_runner.frames import RECEIVE_BYTES, Buffer, Frame, FrameBuffer, Header, encode_frame


class Channel:
    """Frames in and out of a blocking socket."""

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
        """In a forked child: drop our copy, or the supervisor would hear two of us, or miss the runner's end."""
        self.closed = True
        self._write_lock = threading.Lock()
        self._socket.close()

    def send(self, header: Header, body: Buffer = b"") -> None:
        """Write one frame. Nothing happens once closed. Raises OSError if the supervisor is gone."""
        frame = encode_frame(header, body)
        if self.closed:
            return
        with self._write_lock:
            self._socket.sendall(frame)

    @property
    def has_frame(self) -> bool:
        """Whether `receive` would return at once; False may also mean that it is not known yet."""
        return bool(self._received)

    def receive(self, wait: Optional[Callable[[int], None]] = None) -> Optional[Frame]:
        """Wait for the next frame; None once the supervisor has closed its side. Raises FrameInvalid.

        `wait`, if given, is called with the descriptor and returns when there is something to read.
        """
        space = memoryview(self._space)
        while not self._received:
            if wait is not None:
                wait(self._socket.fileno())
            if self.closed:
                raise SystemExit(0)  # a forked child that came back here instead of ending
            received_bytes = self._socket.recv_into(space)
            if received_bytes == 0:
                return None
            self._received.extend(self._buffer.feed(space[:received_bytes]))
        return self._received.popleft()
