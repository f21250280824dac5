"""Handlers with coroutines. The runner has one event loop, which continues to run between workloads."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator

import pytest

from insula_worker.runners.messages import Failed
from insula_worker.runners.process import RunnerLaunch
from tests.contract.runner.conftest import Start, failure, result
from tests.running import job
from tests.waiting import until

KEEPS_A_SESSION = """
import aiohttp
class Handler:
    def __init__(self, config):
        self.session = None
    async def handle_async(self, payload):
        if self.session is None:
            self.session = aiohttp.ClientSession()
        async with self.session.post(payload["url"], json={}) as reply:
            return {"status": reply.status, "body": await reply.text()}
"""


class Idler:
    """An HTTP server that closes a connection after one answer, without `Connection: close` in the answer."""

    def __init__(self) -> None:
        self.connections = 0
        self.client_closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.write_eof()
        await reader.read()
        self.client_closed.set()
        writer.close()


@pytest.fixture
async def idler() -> AsyncIterator[tuple[Idler, str]]:
    """An Idler and its URL."""
    idler = Idler()
    server = await asyncio.start_server(idler.serve, "127.0.0.1", 0)
    async with server:
        yield idler, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_session_notices_between_workloads_that_its_connection_was_closed(
    start: Start, idler: tuple[Idler, str]
) -> None:
    """The session of aiohttp sees the end of its connection while no workload runs.

    A POST over the closed connection would raise ServerDisconnectedError.
    """
    server, url = idler
    runner = await start(KEEPS_A_SESSION)
    task = job(json.dumps({"url": url}).encode())
    for number in (1, 2, 3):
        assert await result(runner, task) == {"status": 200, "body": "ok"}
        async with asyncio.timeout(30):
            await server.client_closed.wait()
        server.client_closed.clear()
        assert server.connections == number


async def test_a_background_task_lives_between_workloads(start: Start, launch: RunnerLaunch) -> None:
    """`__init__` starts the task in the loop that asyncio.get_event_loop() returns. `handle_async` runs there too."""
    runner = await start(
        """
        import asyncio, pathlib
        class Handler:
            def __init__(self, config):
                self.asked = asyncio.Queue()
                asyncio.get_event_loop().create_task(self.background())
            async def background(self):
                pathlib.Path("begun").touch()
                await self.asked.get()
                pathlib.Path("asked").touch()
            async def handle_async(self):
                asyncio.get_running_loop().call_later(0.2, self.asked.put_nowait, None)
                return {}
        """
    )
    await until((launch.project / "begun").exists)
    assert await result(runner, job()) == {}
    await until((launch.project / "asked").exists)


async def test_plain_code_that_returns_a_coroutine_has_it_awaited(start: Start, launch: RunnerLaunch) -> None:
    """The runner awaits the coroutine that a plain handle_async returns, as some decorators make it do.

    While handle_async runs, no event loop runs in its thread, so asyncio.run works.
    """
    runner = await start(
        """
        import asyncio, pathlib
        async def later():
            await asyncio.sleep(0.1)
            pathlib.Path("later").touch()
        async def answer():
            asyncio.create_task(later())
            return {}
        class Handler:
            def handle_async(self):
                asyncio.run(asyncio.sleep(0))
                return answer()
        """
    )
    for _ in range(2):
        assert await result(runner, job()) == {}
        await until((launch.project / "later").exists)
        (launch.project / "later").unlink()


@pytest.mark.parametrize(
    "set_up",
    [
        "asyncio.set_event_loop(Own())",
        "asyncio.run(asyncio.sleep(0)); asyncio.set_event_loop(Own())",
        "asyncio.set_event_loop_policy(Policy())",
    ],
)
async def test_the_handler_chooses_the_loop(start: Start, set_up: str) -> None:
    """The runner uses the event loop or the policy that `__init__` sets, as uvloop.install() does."""
    source = """
        import asyncio
        class Own(asyncio.SelectorEventLoop):
            pass
        class Policy(asyncio.DefaultEventLoopPolicy):
            _loop_factory = Own
        class Handler:
            def __init__(self, config):
                %s
            async def handle_async(self):
                await asyncio.sleep(0)
                return {"loop": type(asyncio.get_running_loop()).__name__}
        """
    runner = await start(source % set_up)
    assert [await result(runner, job()) for _ in range(2)] == [{"loop": "Own"}] * 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("await asyncio.wait_for(asyncio.sleep(9), 0.01)", "TimeoutError"),
        ("asyncio.current_task().cancel(); await asyncio.sleep(9)", "CancelledError"),
        ("asyncio.run(asyncio.sleep(0))", "RuntimeError: asyncio.run() cannot be called from a running event loop"),
    ],
)
async def test_a_coroutine_fails_its_own_workload_only(start: Start, line: str, message: str) -> None:
    runner = await start(
        f"""
        import asyncio
        class Handler:
            async def handle_async(self, payload):
                if payload == "next": return {{}}
                {line}
        """
    )
    failed = await failure(runner, job())
    assert (failed.reason, failed.message) == ("HANDLER_ERROR", message)
    assert await result(runner, job(b'"next"')) == {}


async def test_an_interrupt_ends_the_coroutine_it_hits(start: Start, launch: RunnerLaunch) -> None:
    """SIGINT raises KeyboardInterrupt in a running coroutine, which does not continue during the next workload."""
    runner = await start(
        """
        import asyncio, pathlib
        class Handler:
            async def handle_async(self, payload):
                if payload == "next": return {"tasks": len(asyncio.all_tasks())}
                pathlib.Path("begun").touch()
                await asyncio.sleep(600)
        """
    )
    interrupted = asyncio.create_task(runner.run(job()))
    await until((launch.project / "begun").exists)
    os.kill(runner.process.own_pid, signal.SIGINT)
    outcome = await interrupted
    assert isinstance(outcome, Failed)
    assert outcome.message == "KeyboardInterrupt"
    assert await result(runner, job(b'"next"')) == {"tasks": 1}


BACKGROUND_ERRORS = """
import asyncio, io, logging
from cortex_internal.lib.log import logger
logged = io.StringIO()
logger.addHandler(logging.StreamHandler(logged))
async def fails(error):
    await asyncio.sleep(0)
    raise error
class Handler:
    async def handle_async(self, payload):
        if payload is None:
            asyncio.create_task(fails(ValueError("nobody awaits this")))
            asyncio.get_running_loop().call_soon(asyncio.create_task, fails(SystemExit(3)))
            asyncio.get_running_loop().call_later(0, asyncio.get_running_loop().stop)
        return {"logged": logged.getvalue()}
"""


async def test_errors_of_background_tasks_are_logged_and_end_nothing(start: Start) -> None:
    runner = await start(BACKGROUND_ERRORS)
    await result(runner, job(b"null"))
    logged = ""
    async with asyncio.timeout(30):
        while (
            "nobody awaits this" not in logged or "a background task of the handler raised SystemExit: 3" not in logged
        ):
            logged = str((await result(runner, job(b"1")))["logged"])
    assert "Task exception was never retrieved" in logged


async def test_coroutines_are_awaited_on_one_loop(start: Start) -> None:
    """All jobs have the same loop, so an asyncio client that the handler made in its first job works in the second."""
    runner = await start(
        """
        import asyncio
        class Handler:
            async def handle_async(self, payload):
                await asyncio.sleep(0)
                self.loops = getattr(self, "loops", set()) | {asyncio.get_running_loop()}
                return {"loops": len(self.loops)}
        """
    )
    assert [await result(runner, job()) for _ in range(2)] == [{"loops": 1}] * 2


async def test_background_tasks_end_with_the_runner(start: Start, launch: RunnerLaunch) -> None:
    """When the runner stops, a background task of the handler is cancelled, and its `finally` block runs."""
    runner = await start(
        """
        import asyncio, pathlib
        async def background(begun):
            begun.set()
            try:
                await asyncio.sleep(600)
            finally:
                pathlib.Path("cleaned").touch()
        class Handler:
            async def handle_async(self):
                begun = asyncio.Event()
                self.task = asyncio.create_task(background(begun))
                await begun.wait()
                return {}
        """
    )
    assert await result(runner, job()) == {}
    assert await runner.process.stop(30)
    assert (launch.project / "cleaned").exists()
