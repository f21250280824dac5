"""The output of handlers that a test starts without a worker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from insula_worker.logs.line import Line


class Printed:
    """Prints the lines of handlers, so that a failed test shows them. Implements LineTaker."""

    def put(self, lines: Sequence[Line]) -> None:
        """Print the lines."""
        for line in lines:
            sys.stderr.write(f"{line.json.decode()}\n")

    def drop(self, size_bytes: int) -> None:
        """Print the size of a line that was too long."""
        sys.stderr.write(f"a line of {size_bytes} bytes was dropped\n")

    def wait_for_room(self, resume: Callable[[], None]) -> bool:  # noqa: ARG002 - there is always room
        """Return False: the caller need not wait for room, and `resume` is never called."""
        return False
