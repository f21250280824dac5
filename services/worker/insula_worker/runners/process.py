"""One runner: a child process with the Python of the environment and one instance of the user's handler.

Owns the process: starts it, reports the reason of its end, and ends every process that it started. The module
`connection` owns the frames. Call `start` on the main thread's event loop: the kernel kills the runner when the thread
that started it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import insula_runner
from insula.errors import InsulaError
from insula.process.exit_code import describe_end
from insula_runner.frames import Frame
from insula_worker.runners.connection import RunnerConnection
from insula_worker.runners.job_queue import JobQueue
from insula_worker.runners.messages import Metric, Outcome, storable
from insula_worker.runners.output import LineTaker, RunnerOutput
from insula_worker.view import View
from insula_worker.view.program import Program

RUNNER = Path(insula_runner.__file__).with_name("__main__.py")
STARTUP = RUNNER.with_name("startup")
"""Folder on the PYTHONPATH of the runner and of every program that it starts."""
API_KIND = "AsyncAPI"
FAREWELL_S = 1.0  # longest time between the end of the socket and the end of the process, in either order


class HandlerStartFailed(InsulaError):
    """The handler could not be started: its file, class or __init__ failed. `traceback` is empty if there is none."""

    def __init__(self, reason: str, traceback: str = "") -> None:
        super().__init__(reason)
        self.traceback = traceback


@dataclass(frozen=True, slots=True)
class RunnerModels:
    """The SavedModels of a tensorflow handler: `folder` holds <name>/<version>/saved_model.pb for each.

    `signature_keys` has each model's name and its signature, or None if the configuration names no signature.
    """

    folder: Path
    signature_keys: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class RunnerLaunch:
    """The settings with which the runners of a release are started.

    `environment` has the handler's variables. CORTEX_*, the folder STARTUP and defaults of PYTHON* are added to it.
    `handler_path` and `python_path` are relative to `project`, the working directory. All other paths are absolute.
    `memory_bytes` limits the memory of all processes of the API's handlers, and of those that they start.
    `processes` runners are started, each with `slots` jobs at a time. A runner is replaced after `requests_max` jobs,
    or when it uses `process_memory_bytes`; None means never. `devices` has the variables of each runner's GPUs.
    """

    python: Path
    project: Path
    view: View
    api: str
    handler_path: str
    python_path: str | None
    config: Mapping[str, object]
    environment: Mapping[str, str]
    log_level: str = "info"
    memory_bytes: int | None = None
    models: RunnerModels | None = None
    processes: int = 1
    slots: int = 1
    requests_max: int | None = None
    process_memory_bytes: int | None = None
    devices: Sequence[Mapping[str, str]] = ()

    def of_process(self, number: int) -> RunnerLaunch:
        """Return the settings for the runner `number`, counted from 0: with the variables of its devices."""
        if not self.devices:
            return self
        return replace(self, environment={**self.environment, **self.devices[number]})

    @property
    def labels(self) -> dict[str, str]:
        """The labels in every line of the runner's log."""
        return labels(self.api)


def labels(api: str) -> dict[str, str]:
    """Return the labels in every line of an API's log."""
    return {"apiName": api, "apiKind": API_KIND}


class RunnerProcess:
    """A started runner, made by `start`. Every other method may also be called after the runner's end."""

    def __init__(
        self,
        program: Program,
        own_pid: int,
        connection: RunnerConnection,
        queue: JobQueue,
        output: RunnerOutput,
        end: Callable[[], None],
    ) -> None:
        """`end` removes the runner's /tmp after its end. It blocks, so it is called in a thread."""
        self.own_pid: Final = own_pid
        """Pid of the handler's own process on this machine; 0 if it is unknown."""
        self._program = program
        self._connection = connection
        self._queue = queue
        self._output = output
        self._remove = end
        output.read(own_pid)
        self._death = ""
        self._alive = True
        self._left: list[int] = []
        self._watcher = asyncio.create_task(self._watch(), name=f"runner {program.pid}")

    @classmethod
    async def start(
        cls,
        launch: RunnerLaunch,
        *,
        start_timeout_s: float,
        lines: LineTaker,
        on_answer: Callable[[int, Outcome], bool],
        on_metric: Callable[[Metric], None] | None = None,
    ) -> RunnerProcess:
        """Start a runner, and return it once the handler's __init__ has returned.

        Raises HandlerStartFailed; no process is left then.
        `on_answer` is called with the number and the outcome of each job. It returns whether the number is known.
        `on_metric` is called on the event loop for each metric that the handler pushes. It must not block or raise.
        `lines` receives the handler's output.
        """
        try:
            runner = await cls._spawn(launch, on_answer, on_metric, lines)
        except OSError as error:
            raise HandlerStartFailed(f"the handler's process cannot be started: {error}") from error
        try:
            async with asyncio.timeout(start_timeout_s):
                await runner._become_ready(launch)
        except TimeoutError as error:
            await runner.stop(0)
            raise HandlerStartFailed(f"{launch.handler_path} was not ready within {start_timeout_s:g} s") from error
        except BaseException:
            await runner.stop(0)
            raise
        return runner

    @classmethod
    async def _spawn(
        cls,
        launch: RunnerLaunch,
        on_answer: Callable[[int, Outcome], bool],
        on_metric: Callable[[Metric], None] | None,
        lines: LineTaker,
    ) -> RunnerProcess:
        with ExitStack() as undoing, ExitStack() as given:
            output = RunnerOutput(launch.labels, lines)
            undoing.callback(output.abandon)
            ours, theirs = socket.socketpair()
            given.enter_context(theirs)
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: RunnerConnection(on_answer, on_metric), sock=ours
            )
            undoing.callback(connection.close)
            queue = JobQueue()
            undoing.callback(queue.close)
            inherited = [theirs.fileno(), queue.reading_end]
            begin, tmp = await asyncio.to_thread(launch.view.start)
            stdout, stderr = output.writing_ends
            program = await Program.start(
                begin,
                _command(launch, inherited),
                launch.project,
                _environment(launch),
                stdout=stdout,
                stderr=stderr,
                keep=inherited,
            )
            undoing.callback(program.kill)
            own_pid = await program.command_pid()
            undoing.pop_all()
        return cls(program, own_pid, connection, queue, output, lambda: launch.view.end(tmp))

    async def _become_ready(self, launch: RunnerLaunch) -> None:
        order = {
            "handler_path": launch.handler_path,
            "python_path": launch.python_path,
            "config": dict(launch.config),
            "slots": launch.slots,
            "mark_token": self._output.token,
            "process": self.own_pid,
            "models": _models(launch.models) if launch.models is not None else None,
        }
        self._connection.write({"type": "start"}, json.dumps(order).encode())
        started = self._connection.started
        either: set[asyncio.Future[Any]] = {started, self._watcher}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            raise HandlerStartFailed(f"the handler's process {self._death} while loading {launch.handler_path}")
        _check_start(started.result())

    @property
    def pid(self) -> int:
        """Pid of the root of the runner's process tree. Without a namespace it is the handler's own pid."""
        return self._program.pid

    @property
    def generations(self) -> int:
        """Number of levels above the handler's process in the process tree of `pid`. 0 if `pid` is the handler's."""
        return self._program.generations

    def put(self, message: bytes, file: int | None = None) -> bool:
        """Add a job to the runner's queue, see JobQueue. Return False if it is full, or the runner has ended."""
        return self._alive and self._queue.put(message, file)

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call `resume` once when the queue has room again. It is not called after the runner's end."""
        if self._alive:
            self._queue.when_room(resume)

    def take_back(self) -> list[int]:
        """Return the numbers of the jobs that have not begun. The runner does not begin them any more."""
        left, self._left = self._left, []
        return self._queue.take_back() if self._alive else left

    async def wait_exit(self) -> str:
        """Wait until the runner has ended. Return how it ended, such as "ended with code 1"."""
        await asyncio.shield(self._watcher)
        return self._death

    async def stop(self, grace_s: float) -> bool:
        """End the runner and every process that it started, and wait for that. Return False if SIGKILL was needed.

        Jobs in its queue are still answered within `grace_s`. With 0 the runner is killed at once. Safe to repeat.
        """
        if grace_s > 0 and not self._watcher.done():
            self._queue.end()
            await asyncio.wait({self._watcher}, timeout=grace_s)
        left = self._watcher.done()
        if not left:  # otherwise its pid may belong to another process by now
            self._program.kill()
        await asyncio.shield(self._watcher)
        return left

    async def _watch(self) -> None:
        """Wait for the end of the process and the socket, then close the pipes and the queue and remove the files."""
        try:
            self._death = await self._end()
        finally:
            self._program.kill()
            self._connection.close()
            self._output.finish()
            self._alive, self._left = False, self._queue.take_back()
            self._queue.close()
        await asyncio.to_thread(self._remove)

    async def _end(self) -> str:
        """Wait until the runner has ended and its last answers are read. Return how it ended."""
        exited = asyncio.create_task(self._program.wait())
        closed = asyncio.create_task(self._connection.closed.wait())
        await asyncio.wait({exited, closed}, return_when=asyncio.FIRST_COMPLETED)
        # Answers written just before the end may still be in the socket. The exit may come after its end of file.
        _, late = await asyncio.wait({exited, closed}, timeout=FAREWELL_S)
        if exited in late and self._connection.fault is None:
            self._connection.fault = "closed its socket to the worker"
        closed.cancel()
        self._program.kill()
        return self._connection.fault or describe_end(await exited)


def _command(launch: RunnerLaunch, descriptors: list[int]) -> list[str]:
    # faulthandler prints the Python traceback on a segmentation fault in an extension.
    return [str(launch.python), "-X", "faulthandler", str(RUNNER), *map(str, descriptors)]


def _environment(launch: RunnerLaunch) -> dict[str, str]:
    project = launch.view.project
    ours = {"CORTEX_API_NAME": launch.api, "CORTEX_API_KIND": API_KIND, "CORTEX_LOG_LEVEL": launch.log_level.upper()}
    ours |= {"CORTEX_PROJECT_DIR": str(project), "CORTEX_PYTHON_PATH": str(project / (launch.python_path or ""))}
    # UTF-8 whatever the locale, and integers of any length, as under Cortex. The project may override both.
    defaults = {"PYTHONUTF8": "1", "PYTHONINTMAXSTRDIGITS": "0"}
    path = os.pathsep.join(filter(None, (str(STARTUP), launch.environment.get("PYTHONPATH"))))
    return {**defaults, **launch.environment, **ours, "PYTHONPATH": path}


def _models(models: RunnerModels) -> dict[str, object]:
    return {"folder": str(models.folder), "signature_keys": dict(models.signature_keys)}


def _check_start(answer: Frame) -> None:
    if answer.type != "refused":
        return
    try:
        refusal = json.loads(answer.body)
        message, traceback = storable(refusal["message"]), storable(refusal["traceback"])
    except (ValueError, KeyError, TypeError) as error:  # user code shares the runner's process
        raise HandlerStartFailed(f"the handler's process sent what is not a frame: {error}") from error
    raise HandlerStartFailed(message, traceback)
