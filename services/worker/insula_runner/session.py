"""Runs one runner: reads the start frame, loads the handler, and answers jobs until the supervisor ends the queue."""

from __future__ import annotations

import inspect
import json
import os
import sys
from functools import partial
from typing import Any, Callable, Dict, MutableMapping, NamedTuple, Optional, Union

from cortex_internal.lib import log
from insula_runner.channel import Channel
from insula_runner.frames import FrameInvalid
from insula_runner.handler.event_loop import EventLoop
from insula_runner.handler.handler_class import HANDLE_ASYNC, INIT, INIT_WITH_MODELS, HandlerClass, HandlerInvalid
from insula_runner.handler.handler_module import import_handler
from insula_runner.handler.metrics import MetricsClient
from insula_runner.handler.standard_logging import write_as_lines
from insula_runner.handler.tensorflow_client import ModelInvalid, ModelOrder, TensorFlowClient
from insula_runner.job_loop import Answers, Tasks, serve_in_threads, serve_in_turn
from insula_runner.job_source import JobSource
from insula_runner.output import LineMarks, PositionMarks, buffer_by_line
from insula_runner.user_code import Raised, call_user_code, leave_if_forked

HANDLER_VARIABLE = "INSULA_HANDLER_FILE"  # read by startup/sitecustomize.py
OOM_SCORE = "500"  # of 1000: when memory runs out, the kernel takes the handler before the supervisor


class Start(NamedTuple):
    """The start frame's body. Paths are relative to the working directory, the project's root.

    `slots` jobs run at a time.
    `mark_token` identifies the marks in the output; without it there are no marks.
    `process` is this process' id on the machine; 0 if it is unknown. In a process namespace, getpid() differs from it.
    `models` are the fields of a ModelOrder, for a handler of the type tensorflow.
    """

    handler_path: str
    python_path: Optional[str]
    config: Dict[str, Any]
    slots: int = 1
    mark_token: str = ""
    process: int = 0
    models: Optional[Dict[str, Any]] = None


class Loaded(NamedTuple):
    """A loaded handler: `answers` calls its instance. `awaits` is true if handle_async is a coroutine function."""

    answers: Answers
    loop: EventLoop
    awaits: bool


class Refusal(Exception):
    """The handler cannot be started. The text is the reason that the user of Insula reads."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


def main(descriptor: int, jobs_descriptor: int, environment: MutableMapping[str, str]) -> None:
    """Load the handler, send `ready`, and run jobs until the supervisor ends the job queue.

    `environment` is os.environ, so child processes of user code inherit what is set in it.
    """
    prefer_as_oom_victim()
    buffer_by_line()
    channel = Channel(descriptor)
    source = JobSource(jobs_descriptor)
    try:
        serve = start(channel, source, environment)
        if serve is not None:
            serve()
    except (BrokenPipeError, ConnectionResetError, EOFError):
        # The supervisor has ended, so there is no receiver for an answer.
        sys.exit(1)


def start(channel: Channel, source: JobSource, environment: MutableMapping[str, str]) -> Optional[Callable[[], None]]:
    """Answer the start frame. Return the function that serves jobs, or None if the handler was refused."""
    frame = channel.receive()
    if frame is None:
        return None
    if frame.type != "start":
        raise FrameInvalid(f"expected start, got {frame.type!r}")
    order = Start(**json.loads(frame.body))
    output = PositionMarks(order.mark_token) if order.slots == 1 else LineMarks(order.mark_token)
    log.write_by(output.write)
    log.known_as(order.process or os.getpid())
    write_as_lines()
    path = os.path.abspath(order.handler_path)
    environment[HANDLER_VARIABLE] = path
    sys.argv[:] = [path]
    root = os.path.abspath(order.python_path or ".")
    sys.path.insert(0, root)
    # For Python programs that a handler starts. The user's own entries come first.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), root)))
    try:
        handler = load(channel, order, path, environment)
    except Refusal as refusal:
        body = json.dumps({"message": str(refusal), "traceback": refusal.traceback})
        channel.send({"type": "refused"}, body.encode("ascii"))
        return None
    channel.send({"type": "ready"})
    return partial(serve_jobs, source, handler, output, order.slots)


def serve_jobs(source: JobSource, handler: Loaded, output: Union[PositionMarks, LineMarks], slots: int) -> None:
    """Answer jobs until the supervisor ends the queue, then close the handler's event loop."""
    if isinstance(output, PositionMarks):
        serve_in_turn(source, handler.answers, handler.loop, output)
    elif handler.awaits:
        Tasks(source, handler.answers, handler.loop, output, slots).serve()
    else:
        serve_in_threads(source, handler.answers, output, slots)
    call_user_code(handler.loop.close)


def load(channel: Channel, order: Start, path: str, environment: MutableMapping[str, str]) -> Loaded:
    """Import the handler's module, check its class and create the instance. Raises Refusal."""
    init = INIT if order.models is None else INIT_WITH_MODELS
    imported = call_user_code(lambda: import_handler(path, order.handler_path, init))
    leave_if_forked(channel, imported)
    if isinstance(imported, Raised):
        if isinstance(imported.error, HandlerInvalid):
            raise Refusal(imported.text)
        raise Refusal(f"error in {order.handler_path}: {imported.message}", imported.traceback)
    handler: HandlerClass = imported.value
    offered: Dict[str, Any] = {"config": order.config, "metrics_client": MetricsClient(channel)}
    if order.models is not None:
        offered["tensorflow_client"] = load_models(channel, ModelOrder(**order.models), environment)
    arguments = {name: offered[name] for name in handler.init_arguments}
    loop = EventLoop()
    awaits = inspect.iscoroutinefunction(getattr(handler.cls, HANDLE_ASYNC.method))
    if awaits:
        loop.adopt()  # so that objects that __init__ binds to the current loop work in handle_async
    made = call_user_code(lambda: handler.cls(**arguments))
    leave_if_forked(channel, made)
    if isinstance(made, Raised):
        text = (
            f"failed to initialize handler implementation: {order.handler_path}: __init__: {made.text or made.message}"
        )
        raise Refusal(text, made.traceback)
    if awaits:
        loop.adopt()  # __init__ may have set another
    answers = Answers(channel, made.value.handle_async, handler.handle_async_arguments, environment)
    return Loaded(answers, loop, awaits)


def load_models(channel: Channel, order: ModelOrder, environment: MutableMapping[str, str]) -> TensorFlowClient:
    """Create the `tensorflow_client`, which loads the latest version of each model. Raises Refusal."""
    made = call_user_code(lambda: TensorFlowClient(order, environment))
    leave_if_forked(channel, made)
    if not isinstance(made, Raised):
        client: TensorFlowClient = made.value
        return client
    if isinstance(made.error, ModelInvalid):
        raise Refusal(made.text)
    raise Refusal(f"TensorFlow cannot be loaded: {made.message}", made.traceback)


def prefer_as_oom_victim() -> None:
    """Set this process' OOM score to OOM_SCORE, if the kernel allows it."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(OOM_SCORE)
    except OSError:
        return  # not Linux, or not allowed in this container; then the kernel chooses without our preference
