"""Several workloads run at a time in one process, in threads or in tasks.

The output, context variables and exceptions of one workload do not affect the others.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from insula_worker.logs.ring import LogRing
from insula_worker.runners.messages import Completed, Failed
from tests.contract.worker.conftest import Printed, Start, job
from tests.running import Running

SLOTS = 8
FORMS = pytest.mark.parametrize(
    ("keyword", "pause"),
    [("def", "time.sleep({})"), ("async def", "await asyncio.sleep({})")],
    ids=["threads", "tasks"],
)


async def run(runner: Running, id: str, payload: str = "{}") -> dict[str, Any]:
    """Run a job, which must succeed. Return its result."""
    outcome = await runner.run(job(id, payload))
    assert isinstance(outcome, Completed), outcome
    result: dict[str, Any] = json.loads(outcome.result_json)
    return result


@FORMS
async def test_as_many_run_at_a_time_as_there_are_slots(start: Start, keyword: str, pause: str) -> None:
    """With 8 slots, exactly 8 of 40 workloads run at a time."""
    runner = await start(
        f"""
        import cortex_internal.lib.log as state
        running = state.__dict__.setdefault("running", set())
        running.add(request_id)
        most = len(running)
        while most < {SLOTS} and not os.path.exists("go"):
            {pause.format(0.01)}
            most = max(most, len(running))
        open("go", "w").close()
        {pause.format(0.05)}
        most = max(most, len(running))
        running.discard(request_id)
        return {{"most": most}}
        """,
        slots=SLOTS,
        keyword=keyword,
    )
    answers = await asyncio.gather(*(run(runner, str(number)) for number in range(5 * SLOTS)))
    assert max(answer["most"] for answer in answers) == SLOTS


@FORMS
async def test_each_line_belongs_to_the_workload_that_printed_it(
    start: Start, printed: Printed, keyword: str, pause: str
) -> None:
    """Each line has the id of its workload: printed in pieces, logged, or printed by a thread that has its context."""
    runner = await start(
        f"""
        for number in range(int(request_id) % 7):
            print(f"out {{request_id}}", end=" ")
            {pause.format(0.001)}
            print(number)
            print(f"err {{request_id}} {{number}}", file=sys.stderr)
            log.info(f"log {{request_id}} {{number}}")
            logging.getLogger("mine").info("std %s %s", request_id, number)
            {pause.format(0.001)}
        import contextvars
        thread = threading.Thread(target=contextvars.copy_context().run, args=(print, f"thread {{request_id}}"))
        thread.start()
        thread.join()
        sys.stdout.buffer.write(f"raw {{request_id}}\\n".encode())
        sys.stdout.write(f"out {{request_id}} end")
        """,
        slots=SLOTS,
        keyword=keyword,
    )
    await asyncio.gather(*(run(runner, str(number)) for number in range(200)))
    await runner.process.stop(5)
    _, *lines = printed.lines()
    assert [line for line in lines if line["message"].split()[1] != line["id"]] == []
    assert {line["traceId"] for line in lines} == {f"trace-of-{number}" for number in range(200)}
    assert len(lines) == sum(4 * (number % 7) + 3 for number in range(200))


@FORMS
async def test_output_of_c_code_and_of_other_programs_carries_the_process_only(
    start: Start, printed: Printed, keyword: str, pause: str
) -> None:
    runner = await start(
        """
        print("ours")
        subprocess.run(["echo", "another program's"], check=True)
        os.write(1, b"C code's\\n")
        """,
        slots=SLOTS,
        keyword=keyword,
    )
    assert pause
    await run(runner, "one")
    await runner.process.stop(5)
    found = {line["message"]: (line.get("id"), line["process"]) for line in printed.lines()[1:]}
    pid = runner.process.own_pid
    assert found == {"ours": ("one", pid), "another program's": (None, pid), "C code's": (None, pid)}


@FORMS
async def test_context_variables_of_a_workload_are_its_own(start: Start, keyword: str, pause: str) -> None:
    """A workload does not see a value of a ContextVar that another workload has set."""
    runner = await start(
        f"""
        import contextvars
        if not hasattr(Handler, "seen"):
            Handler.seen = contextvars.ContextVar("seen", default="nobody")
        before = Handler.seen.get()
        Handler.seen.set(request_id)
        {pause.format(0.002)}
        return {{"before": before, "after": Handler.seen.get()}}
        """,
        slots=SLOTS,
        keyword=keyword,
    )
    answers = await asyncio.gather(*(run(runner, str(number)) for number in range(50)))
    assert answers == [{"before": "nobody", "after": str(number)} for number in range(50)]


@FORMS
async def test_what_one_workload_raises_disturbs_no_other(start: Start, keyword: str, pause: str) -> None:
    """SystemExit, KeyboardInterrupt and CancelledError, as ValueError, fail only the workload that raises them."""
    runner = await start(
        f"""
        {pause.format(0.01)}
        if payload:
            kinds = {{"a": ValueError, "b": SystemExit, "c": KeyboardInterrupt, "d": asyncio.CancelledError}}
            raise kinds[payload]("no")
        """,
        slots=SLOTS,
        keyword=keyword,
    )
    raised = [runner.run(job(f"{kind}-{number}", json.dumps(kind))) for number in range(5) for kind in "abcd"]
    outcomes = await asyncio.gather(*raised, *(runner.run(job(str(number), '""')) for number in range(20)))
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert len(failed) == 20
    assert {outcome.message.split(":")[0] for outcome in failed} == {
        *("ValueError", "SystemExit", "KeyboardInterrupt", "CancelledError")
    }
    assert all("in handle_async" in outcome.traceback for outcome in failed)


@FORMS
async def test_an_interrupt_is_reported_and_fails_no_workload(
    start: Start, printed: Printed, keyword: str, pause: str
) -> None:
    """KeyboardInterrupt in the main thread, which runs no handler, is logged. All workloads complete."""
    runner = await start(
        f"""
        if payload:
            import _thread
            threading.Timer(0.1, _thread.interrupt_main).start()
        {pause.format(0.3)}
        """,
        slots=SLOTS,
        keyword=keyword,
    )
    await asyncio.gather(*(run(runner, str(number), str(number // 7)) for number in range(SLOTS)))
    assert await run(runner, "last", "0") == {}
    await runner.process.stop(5)
    assert [line["message"] for line in printed.lines() if line["message"] == "KeyboardInterrupt"]


@FORMS
async def test_a_forked_child_that_returns_answers_nothing(start: Start, keyword: str, pause: str) -> None:
    """A handler forks, and both processes return. Only the parent's result is stored, and the child exits with 0."""
    runner = await start(
        f"""
        {pause.format(0)}
        child = os.fork()
        if child == 0:
            return {{"who": "child"}}
        return {{"who": "parent", "code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}}
        """,
        slots=2,
        keyword=keyword,
    )
    answers = await asyncio.gather(*(run(runner, str(number)) for number in range(6)))
    assert answers == [{"who": "parent", "code": 0}] * 6


async def test_a_plain_handler_may_return_a_coroutine_in_each_thread(start: Start) -> None:
    runner = await start(
        """
        async def later():
            await asyncio.sleep(0.01)
            return {"id": request_id}
        return later()
        """,
        slots=4,
    )
    assert await asyncio.gather(*(run(runner, str(number)) for number in range(12))) == [
        {"id": str(number)} for number in range(12)
    ]


async def test_the_log_of_one_workload_is_found_among_others(start: Start, printed: Printed) -> None:
    """`insula logs API --workload ID` reads the lines in this way."""
    runner = await start("print(request_id)", slots=SLOTS)
    await asyncio.gather(*(run(runner, str(number)) for number in range(20)))
    await runner.process.stop(5)
    ring: LogRing = printed.log.ring
    assert [json.loads(line)["message"] async for line in ring.read(follow=False, workload="7")] == ["7"]
