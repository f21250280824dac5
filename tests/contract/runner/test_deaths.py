"""Each way in which a runner can end, and the reason that the worker gets."""

from __future__ import annotations

import asyncio

import pytest

from insula_worker.runners.messages import Completed
from tests.contract.runner.conftest import Start, handler
from tests.running import RunnerDied, job


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("import os; os._exit(1)", "ended with code 1"),
        ("import os; os._exit(0)", "ended with code 0"),
        ("import ctypes; ctypes.string_at(0)", "was killed by signal 11 (SIGSEGV)"),
        ("import os; os.abort()", "was killed by signal 6 (SIGABRT)"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "was killed by signal 9 (SIGKILL, which the kernel sends when memory runs out)",
        ),
        ("import os; os.closerange(3, 100); import time; time.sleep(99)", "closed its socket to the worker"),
    ],
)
async def test_a_death_is_described_to_every_waiting_job(start: Start, line: str, reason: str) -> None:
    runner = await start(handler(line))
    ends = await asyncio.gather(*(runner.run(job(id=str(id))) for id in range(3)), return_exceptions=True)
    assert [end.reason for end in ends if isinstance(end, RunnerDied)] == [reason] * 3
    assert await runner.process.wait_exit() == reason


async def test_answers_given_before_the_death_are_not_lost(start: Start) -> None:
    runner = await start(handler("import os", "if payload == 3: os._exit(1)", "return {}"))
    ends = await asyncio.gather(
        *(runner.run(job(b"%d" % number, id=str(number))) for number in range(5)), return_exceptions=True
    )
    assert [type(end) for end in ends] == [Completed] * 3 + [RunnerDied] * 2


async def test_a_dead_runner_takes_no_job(start: Start) -> None:
    runner = await start(handler("return {}"))
    await runner.process.stop(0)
    assert not runner.process.put(b"never sent")


async def test_the_jobs_that_a_death_leaves_have_not_begun(start: Start) -> None:
    runner = await start(handler("import os", "if payload == 3: os._exit(1)", "return {}"))
    answers = [runner.put(job(b"%d" % number)) for number in range(1, 8)]
    await runner.process.wait_exit()
    assert [answer.done() for answer in answers] == [True] * 2 + [False] * 5
    assert runner.process.take_back() == [4, 5, 6, 7]


@pytest.mark.parametrize(
    "garbage", ["b'x' * 100", "b'\\0\\0\\0\\2\\0\\0\\0\\0[]'", 'b\'\\0\\0\\0\\x0f\\0\\0\\0\\0{"type": "odd"}\'']
)
async def test_garbage_from_user_code_ends_the_runner(start: Start, garbage: str) -> None:
    runner = await start(
        handler(
            f"""
            import os, stat, time
            for descriptor in range(3, 4096):  # the number depends on what the test run has open
                try:
                    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                        os.write(descriptor, {garbage})
                except OSError:
                    pass
            time.sleep(99)
            """
        )
    )
    with pytest.raises(RunnerDied, match="sent what is not a frame"):
        await runner.run(job())


async def test_stop_lets_written_jobs_finish_within_the_grace(start: Start) -> None:
    runner = await start(handler("return {}"))
    answers = [asyncio.create_task(runner.run(job(id=str(number)))) for number in range(10)]
    await asyncio.wait(answers, timeout=0)
    await runner.process.stop(30)
    assert [type(await answer) for answer in answers] == [Completed] * 10
    assert await runner.process.wait_exit() == "ended with code 0"
    await runner.process.stop(0)


async def test_stop_kills_a_handler_that_does_not_end(start: Start) -> None:
    runner = await start(handler("while True: pass"))
    running = asyncio.create_task(runner.run(job()))
    await asyncio.wait({running}, timeout=0)
    await runner.process.stop(0.2)
    with pytest.raises(RunnerDied, match="SIGKILL"):
        await running


async def test_a_handler_that_breaks_stdout_is_still_answered(start: Start) -> None:
    runner = await start(
        handler("import os, sys", "if payload: sys.stdout = None; os.close(1); sys.stderr.close()", "return {}")
    )
    assert isinstance(await runner.run(job(b"1")), Completed)
    assert isinstance(await runner.run(job(b"0")), Completed)
