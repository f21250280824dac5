"""The job loop: calls `handle_async` for each job of the queue, and sends one answer for each.

With one slot, jobs run one after the other on the main thread. With several slots, there is one thread for each slot;
if `handle_async` is a coroutine function, there is one task of the event loop for each slot instead.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import json
import os
import threading
import time
import traceback
from functools import partial
from typing import Any, Callable, Dict, Generator, Iterable, List, MutableMapping, Optional, Set, Tuple, Type, Union

from insula_runner.channel import Channel
from insula_runner.handler.event_loop import EventLoop
from insula_runner.job_source import Job, JobSource
from insula_runner.output import LineMarks, PositionMarks
from insula_runner.payload import PayloadInvalid, decode_payload
from insula_runner.result import ResultInvalid, ResultTooLarge, encode_result
from insula_runner.user_code import Raised, Returned, call_user_code, describe, leave_if_forked

REASON_BY_ERROR: Dict[Type[BaseException], str] = {
    PayloadInvalid: "PAYLOAD_INVALID",
    ResultInvalid: "RESULT_INVALID",
    ResultTooLarge: "RESULT_TOO_LARGE",
}
HANDLER_ERROR = "HANDLER_ERROR"


class Answers:
    """Calls `handle_async` with the arguments that it declares, and sends each job's answer to the supervisor."""

    def __init__(
        self,
        channel: Channel,
        handle_async: Callable[..., Any],
        arguments: Tuple[str, ...],
        environment: MutableMapping[str, str],
    ) -> None:
        """`arguments` are the names that `handle_async` declares. `environment` is os.environ."""
        self.channel = channel
        self._handle_async = handle_async
        self._takes_payload = "payload" in arguments
        self._takes_request_id = "request_id" in arguments
        self._environment = environment
        self._reaching = threading.Lock()

    def begin(self, job: Job) -> None:
        """Add the job's `direct_hosts` to NO_PROXY. Call this before the handler is called for the job."""
        if job.direct_hosts:
            with self._reaching:  # else two threads would each add their hosts to what they have read before
                reach_directly(job.direct_hosts, self._environment)

    def call(self, job: Job) -> Any:
        """Decode the payload and call the handler. Return what it returned, which may be an awaitable."""
        arguments = {}
        decoded = decode_payload(job.content_type, job.payload)
        if self._takes_payload:
            arguments["payload"] = decoded
        if self._takes_request_id:
            arguments["request_id"] = job.id
        return self._handle_async(**arguments)

    def send(self, job: Job, outcome: Union[Returned, Raised], started: float) -> None:
        """Send the job's answer: its result as JSON, or its failure. The job began at `started`, by perf_counter."""
        leave_if_forked(self.channel, outcome)
        answer = {"job": job.number, "handler_s": time.perf_counter() - started}
        if isinstance(outcome, Raised):
            reason = reason_of(outcome.error)
            self.channel.send({"type": "failure", "reason": reason, **answer}, failure_body(outcome, reason))
        else:
            self.channel.send({"type": "result", **answer}, outcome.value)


def serve_in_turn(source: JobSource, answers: Answers, loop: EventLoop, output: PositionMarks) -> None:
    """Answer jobs one after the other, until the supervisor ends the queue. Wait while the queue is empty.

    If the handler has an event loop, the loop runs during the wait. Raises FrameInvalid for a malformed job.
    """
    while True:
        try:
            job = source.take_now()
        except BlockingIOError:
            output.end()  # if there is a next job, its `begin` marks the end as well: half the writes
            job = source.take(loop.wait_readable if loop.runs else None)
        if job is None:
            return
        answers.begin(job)
        output.begin(job.id, job.trace_id)
        started = time.perf_counter()
        answers.send(job, call_user_code(partial(perform, answers, job, loop)), started)


def perform(answers: Answers, job: Job, loop: EventLoop) -> bytes:
    """Call the handler, wait for its coroutine if it returned one, and encode the result. Any step may raise."""
    result = answers.call(job)
    if inspect.isawaitable(result):
        result = loop.finish(result)
    return encode_result(result)


def serve_in_threads(source: JobSource, answers: Answers, output: LineMarks, slots: int) -> None:
    """Answer jobs in `slots` threads, until the supervisor ends the queue. A thread waits while the queue is empty.

    Each job runs in its own copy of the main thread's context. So it sees the context variables that `__init__` has
    set, but none that another job sets. Raises the first error that a thread gets outside the handler.
    """
    errors: List[BaseException] = []
    context = contextvars.copy_context()

    def work() -> None:
        loop = EventLoop()  # for a handler that is no coroutine, but returns one
        try:
            while True:
                job = source.take()
                if job is None:
                    break
                context.copy().run(answer, job, loop)
            call_user_code(loop.close)
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            leave_child(answers.channel, error)
            errors.append(error)
            source.end()

    def answer(job: Job, loop: EventLoop) -> None:
        answers.begin(job)
        started = time.perf_counter()
        with output.of(job.id, job.trace_id):
            outcome = call_user_code(partial(perform, answers, job, loop))
        answers.send(job, outcome, started)

    threads = [threading.Thread(target=work, name=f"handler-{number}") for number in range(slots)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            with interrupts_reported():
                thread.join()
    if errors:
        raise errors[0]


@contextlib.contextmanager
def interrupts_reported() -> Generator[None, None, None]:
    """Print the traceback of a KeyboardInterrupt that the `with` block raises, and continue after the block."""
    try:
        yield
    except KeyboardInterrupt:
        traceback.print_exc()


def leave_child(channel: Channel, error: BaseException) -> None:
    """If this process is a child that user code forked, exit at once, without exit handlers; else do nothing.

    `error` ended this thread. It decides the exit code.
    """
    if not channel.closed:
        return
    if not isinstance(error, SystemExit):
        traceback.print_exception(type(error), error, error.__traceback__)
        os._exit(1)
    os._exit(error.code if isinstance(error.code, int) else int(error.code is not None))


class Tasks:
    """Answers jobs in tasks of the event loop, at most `slots` at a time."""

    def __init__(self, source: JobSource, answers: Answers, loop: EventLoop, output: LineMarks, slots: int) -> None:
        self._source = source
        self._answers = answers
        self._loop = loop
        self._output = output
        self._slots = slots
        self._context = contextvars.copy_context()
        self._running: Set[Any] = set()
        self._ended = False

    def serve(self) -> None:
        """Answer jobs until the supervisor ends the queue. Raises FrameInvalid for a malformed job.

        A KeyboardInterrupt of user code is printed, and fails no job: it is unknown which job raised it.
        """
        while not self._ended:
            with interrupts_reported():
                self._loop.finish(self._serve())

    async def _serve(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            if len(self._running) >= self._slots:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                job = self._source.take_now()
            except BlockingIOError:
                await readable(loop, self._source.fileno())
                continue
            if job is None:
                break
            task = self._context.copy().run(loop.create_task, self._answer(job))
            self._running.add(task)
            task.add_done_callback(self._ended_task)
        if self._running:
            await asyncio.wait(self._running)
        self._ended = True

    def _ended_task(self, task: Any) -> None:
        """End the process if the task raised an error: its job gets no answer. The supervisor then ends the job."""
        self._running.discard(task)
        error: Optional[BaseException] = None if task.cancelled() else task.exception()
        if error is not None and not self._answers.channel.closed:
            traceback.print_exception(type(error), error, error.__traceback__)
            os._exit(1)

    async def _answer(self, job: Job) -> None:
        self._answers.begin(job)
        started = time.perf_counter()
        with self._output.of(job.id, job.trace_id):
            try:
                result = self._answers.call(job)
                if inspect.isawaitable(result):
                    result = await result
                outcome: Union[Returned, Raised] = Returned(encode_result(result))
            except BaseException as error:  # noqa: BLE001 - the attempt boundary: user code may raise anything at all
                outcome = describe(error)
        self._answers.send(job, outcome, started)


async def readable(loop: Any, descriptor: int) -> None:
    """Wait until the descriptor is readable."""
    future: Any = loop.create_future()
    loop.add_reader(descriptor, lambda: future.done() or future.set_result(None))
    try:
        await future
    finally:
        loop.remove_reader(descriptor)


def reach_directly(hosts: Iterable[str], environment: MutableMapping[str, str]) -> None:
    """Add hosts to NO_PROXY. Clients that read it for each request, such as requests and urllib, then use no proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [host for host in environment.get(name, "").split(",") if host]
        new = [host for host in hosts if host not in known]
        if new and known != ["*"]:
            environment[name] = ",".join([*known, *new])


def reason_of(error: BaseException) -> str:
    """Return the reason of a failure: that of REASON_BY_ERROR, or else HANDLER_ERROR, because user code raised it."""
    return REASON_BY_ERROR.get(type(error), HANDLER_ERROR)


def failure_body(raised: Raised, reason: str) -> bytes:
    """Return the failure's message and traceback as JSON. The traceback is empty unless user code raised the error."""
    if reason == HANDLER_ERROR:
        failure = {"message": raised.message, "traceback": raised.traceback}
    else:
        failure = {"message": raised.text, "traceback": ""}
    return json.dumps(failure).encode("ascii")
