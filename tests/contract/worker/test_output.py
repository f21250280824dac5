"""Each line that user code prints becomes a JSON line of the worker, with the id of its workload."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from insula_worker.logs.worker_log import WorkerLog
from insula_worker.runners.messages import Completed
from insula_worker.runners.process import labels
from tests.contract.worker.conftest import Printed, Start, job
from tests.processes import memory_mb
from tests.running import RunnerDied, Running
from tests.views import open_view

LIMIT_MB = 10


async def run(runner: Running, id: str, payload: str = "{}") -> None:
    """Run one job, which must succeed."""
    assert isinstance(await runner.run(job(id, payload)), Completed)


async def test_everything_a_handler_writes_becomes_a_line_of_its_workload(start: Start, printed: Printed) -> None:
    runner = await start(
        """
        print("print")
        print("stderr", file=sys.stderr)
        warnings.warn("warning")
        os.write(1, b"descriptor\\n")
        subprocess.run(["echo", "subprocess"])
        ctypes.CDLL(None).puts(b"C")
        failing = threading.Thread(target=lambda: 1 / 0)
        failing.start()
        failing.join()
        log.info("logger", extra={"score": 1.50, "id": "the handler's own"})
        print('{"asctime": "looks like the logger", NaN')
        sys.stdout.write("no newline")
        """
    )
    await run(runner, "one")
    await runner.process.stop(5)
    made, *lines = printed.lines()
    assert (made["message"], "id" in made) == ("made", False)
    assert {(line["process"], line["labels"]["apiName"], line["labels"]["apiKind"]) for line in lines} == {
        (runner.process.own_pid, "echo", "AsyncAPI")
    }
    assert {line["traceId"] for line in lines} == {"trace-of-one"}
    level_of = {line["message"]: line["levelname"] for line in lines}
    for message in ("print", "descriptor", "subprocess", "C", "logger", "no newline"):
        assert level_of[message] == "INFO"
    assert level_of["stderr"] == "WARNING"
    assert any(message.endswith("UserWarning: warning") for message in level_of)
    assert "ZeroDivisionError: division by zero" in level_of
    assert '{"asctime": "looks like the logger", NaN' in level_of
    logged = next(line for line in lines if line["message"] == "logger")
    assert (logged["score"], logged["id"]) == (1.5, "the handler's own")
    assert {line["id"] for line in lines if line is not logged} == {"one"}


async def test_500_workloads_on_both_streams_are_told_apart_exactly(start: Start, printed: Printed) -> None:
    """Each line has the id of the workload that printed or logged it, also one without a newline at its end."""
    runner = await start(
        """
        for number in range(int(request_id) % 7):
            print(f"out {request_id} {number}")
            print(f"err {request_id} {number}", file=sys.stderr)
            log.info(f"log {request_id} {number}")
        sys.stdout.write(f"out {request_id} end")
        sys.stderr.write(f"err {request_id} end")
        """
    )
    await asyncio.gather(*(run(runner, str(number)) for number in range(500)))
    await runner.process.stop(5)
    _, *lines = printed.lines()
    assert all(line["message"].split()[1] == line["id"] for line in lines)
    assert len(lines) == sum(3 * (number % 7) + 2 for number in range(500))


async def test_between_workloads_lines_belong_to_none(start: Start, printed: Printed, tmp_path: Path) -> None:
    """A thread prints after its workload has ended, before the next one begins. Its line has no workload id."""
    runner = await start(
        """
        def waits():
            runner = sys._current_frames()[threading.main_thread().ident]
            return os.path.exists("answered") and runner.f_back.f_code.co_name == "take"
        def wait():
            while not waits():
                time.sleep(0.05)
            print("late")
            os._exit(0)
        threading.Thread(target=wait).start()
        print("in time")
        """
    )
    await run(runner, "one")
    (tmp_path / "project" / "answered").touch()
    assert await runner.process.wait_exit() == "ended with code 0"
    assert [(line["message"], line.get("id")) for line in printed.lines()[1:]] == [("in time", "one"), ("late", None)]


async def test_closed_and_replaced_streams_hurt_nobody(start: Start, printed: Printed) -> None:
    runner = await start(
        """
        if request_id == "replaced":
            import io
            sys.stdout = io.StringIO()
        elif request_id == "closed":
            sys.__stdout__.close()
            os.close(2)
        else:
            print("lost in the replaced stream")
        log.info(request_id)
        """
    )
    for id in ("replaced", "closed", "next"):
        await run(runner, id)
    await runner.process.stop(5)
    assert [(line["message"], line["id"]) for line in printed.lines()[1:]] == [
        (id, id) for id in ("replaced", "closed", "next")
    ]


async def test_the_last_words_of_a_crash_are_kept(start: Start, printed: Printed) -> None:
    """The handler process crashes. Its last output and faulthandler's report are read before its end is reported."""
    runner = await start("for number in range(100): print(number)", "ctypes.string_at(0)")
    with pytest.raises(RunnerDied, match="SIGSEGV"):
        await runner.run(job("one"))
    lines = printed.lines()[1:]
    assert [line["message"] for line in lines if line["levelname"] == "INFO"] == [str(n) for n in range(100)]
    assert "Fatal Python error: Segmentation fault" in [line["message"] for line in lines]
    assert {line["id"] for line in lines} == {"one"}


async def test_a_program_that_outlives_its_runner_does_not_hold_the_worker(start: Start, printed: Printed) -> None:
    """Without a process namespace, a program of the handler can outlive its runner and keep the output pipe open."""
    runner = await start(
        'child = subprocess.Popen(["sleep", "30"], start_new_session=True)',
        "print(child.pid)",
        "os._exit(1)",
        view=open_view,
    )
    with pytest.raises(RunnerDied, match="ended with code 1"):
        await runner.run(job("one"))
    os.kill(int(printed.lines()[1]["message"]), 9)


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ('sys.stderr.write(("x" * 99 + "\\n") * 1_000_000)', 1_000_000),
        ('for _ in range(100): sys.stderr.write("x" * 999_999 + "\\n")', 100),
        ('for _ in range(20): sys.stderr.write("x" * 4_900_000 + "\\n")', 20),
        ('sys.stderr.write("x" * 100_000_000 + "\\n")', 0),
    ],
    ids=["short lines", "lines of 1 MB", "lines of 4.9 MB", "one line"],
)
async def test_100_mb_pass_without_growing_the_worker(start: Start, printed: Printed, line: str, lines: int) -> None:
    """The worker's peak memory grows by less than 10 MB. Only a line over the size limit is lost, which is logged."""
    runner = await start(line)
    before_mb = memory_mb(os.getpid())
    Path("/proc/self/clear_refs").write_text("5")
    await run(runner, "one")
    assert memory_mb(os.getpid(), "VmHWM") - before_mb < LIMIT_MB
    await runner.process.stop(5)
    printed.log.close()
    with printed.path.open("rb") as file:
        written = sum(b'"message": "xxx' in found[:200] for found in file)
    assert written == lines
    if not lines:
        notice = printed.lines()[-1]["message"]
        limit = "the limit is 5000000 bytes; later ones are only counted"
        assert notice == f"a log line of 100000000 bytes was dropped, {limit}"
        assert printed.log.lines_too_long == 1


async def test_a_stdout_that_nobody_reads_costs_lines_and_nothing_else(start: Start) -> None:
    """If nobody reads the worker's stdout, the handler and the event loop continue, and lines are lost.

    The lost lines are counted. Their number is logged when the reader reads again.
    """
    reading, writing = os.pipe()
    log = WorkerLog(labels("echo"), writing)
    runner = await start('sys.stderr.write(("x" * 99 + "\\n") * 200_000)', log=log)
    await run(runner, "one")
    assert log.lines_unread > 0
    text = b""
    loop = asyncio.get_running_loop()
    while b"lines were dropped: the reader of the worker's stdout took none for 1 s" not in text[-200_000:]:
        text += await loop.run_in_executor(None, os.read, reading, 1 << 20)
    log.close()
    os.close(reading)
    os.close(writing)
