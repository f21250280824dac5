"""The asyncio loop of a handler with coroutines: one for the whole life of the process, on the main thread.

The loop runs while a coroutine of the handler is awaited, and while the runner waits for its next workload. So a
background task continues, and a client that the handler keeps notices a closed connection. The loop stops only while
synchronous code of the handler runs; there `asyncio.run` works as in any program.
"""

from __future__ import annotations

import os
import warnings
from typing import Any, Awaitable, Dict, Optional

from cortex_internal.lib.log import logger

UNNAMED = "an error in the handler's event loop"


class EventLoop:
    """The handler's event loop, created at its first use.

    A handler may choose the kind of loop by an asyncio policy, or set a loop of its own.
    """

    def __init__(self) -> None:
        self._loop: Any = None
        self._process = os.getpid()

    @property
    def runs(self) -> bool:
        """Whether there is a loop. An existing loop has to run while the runner waits for its next job."""
        return self._loop is not None

    def adopt(self) -> Any:
        """Adopt and return the thread's current loop. If the thread has none, make this object's loop current."""
        import asyncio

        loop: Any = current_loop()
        if loop is None:
            usable = self._loop is not None and not self._loop.is_closed()
            loop = self._loop if usable else asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
        if loop is not self._loop:
            self._loop = loop
            if loop.get_exception_handler() is None:
                loop.set_exception_handler(log_error)
        return loop

    def finish(self, awaitable: Awaitable[Any]) -> Any:
        """Run the loop until the awaitable is done; return its result, or raise what it raised.

        A SystemExit of a background task fails only that task. A KeyboardInterrupt is a signal to the process: the
        awaitable is cancelled first, because otherwise it would continue during the next workload.
        """
        import asyncio

        loop = self._usable()
        future = asyncio.ensure_future(awaitable, loop=loop)

        def stop(_: object) -> None:
            loop.stop()

        future.add_done_callback(stop)
        interrupt: Optional[KeyboardInterrupt] = None
        while not future.done():  # the handler may stop its loop as well
            interrupt = self._run(loop, future) or interrupt
        future.remove_done_callback(stop)
        if interrupt is not None:
            raise interrupt
        return future.result()

    def _run(self, loop: Any, future: Any) -> Optional[KeyboardInterrupt]:
        """Run the loop until it is stopped. On a KeyboardInterrupt, cancel `future`, and return the interrupt.

        Return None without an interrupt, or if `future` is already done.
        """
        try:
            loop.run_forever()
        except SystemExit as error:
            if os.getpid() != self._process:
                raise  # a child that a background task forked
            if not (future.done() and not future.cancelled() and future.exception() is error):
                logger.error("a background task of the handler raised SystemExit: %s; only this task has ended", error)
        except KeyboardInterrupt as error:
            return error if future.cancel() else None
        return None

    def wait_readable(self, descriptor: int) -> None:
        """Run the loop until the descriptor is readable. Raises KeyboardInterrupt if an interrupt ends the wait."""
        loop = self._usable()
        readable = loop.create_future()
        loop.add_reader(descriptor, settle, readable)
        try:
            self.finish(readable)
        finally:
            loop.remove_reader(descriptor)

    def _usable(self) -> Any:
        return self.adopt() if self._loop is None or self._loop.is_closed() else self._loop

    def close(self) -> None:
        """End background tasks and asynchronous generators, then close the loop, as asyncio.run does."""
        if self._loop is None or self._loop.is_closed():
            return
        import asyncio

        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.finish(asyncio.wait(tasks))
        self.finish(self._loop.shutdown_asyncgens())
        self._loop.close()


def current_loop() -> Any:
    """Return the thread's loop, which asyncio's policy may create now; None if there is none or it is closed."""
    import asyncio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.10 to 3.13 warn when they create one
        try:
            loop = asyncio.get_event_loop()
        except RuntimeError:
            return None
    return None if loop.is_closed() else loop


def settle(future: Any) -> None:
    """Set the result of a future to None, unless it is done."""
    if not future.done():
        future.set_result(None)


def log_error(loop: Any, context: Dict[str, Any]) -> None:  # noqa: ARG001 - asyncio's signature
    """Log an error that no code awaits, such as the exception of a background task."""
    source: Optional[object] = context.get("task") or context.get("future") or context.get("handle")
    logger.error(
        context.get("message") or UNNAMED,
        exc_info=context.get("exception"),
        extra={"source": repr(source)} if source is not None else None,
    )
