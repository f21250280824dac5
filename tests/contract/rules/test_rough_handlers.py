"""Handlers that behave badly. Each workload ends with the true reason, the next one runs, the worker stays small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.http_api import HttpApi
from tests.processes import memory_mb
from tests.stack import Stack
from tests.waiting import until_blocking

NEXT = b"result = {'next': True}"
ENDLESS_THREADS = """
import threading, time
for daemon in (True, False):
    threading.Thread(target=lambda: [time.sleep(1) for _ in iter(int, 1)], daemon=daemon).start()
result = {"threads": threading.active_count()}
"""
FORK = """
import os
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    result = {"exit code": os.waitstatus_to_exitcode(status)}
"""
SURVIVED = {
    "changes directory": "import os; os.chdir('/'); result = {'cwd': os.getcwd()}",
    "closes stdout": "import os, sys; sys.stdout.close(); os.close(1)",
    "replaces stdout": "import io, sys; sys.stdout = io.StringIO(); print('into nothing')",
    "has no stdout": "import sys; sys.stdout = sys.stderr = None",
    "spawns threads that never end": ENDLESS_THREADS,
    "forks and comes back twice": FORK,
    "ignores signals": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "changes the environment": "import os; os.environ.clear()",
}
FAILED = {
    "import sys; sys.exit(3)": "SystemExit: 3",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "def f(): return f()\nf()": "RecursionError: maximum recursion depth exceeded",
    "x = bytes(1 << 62)": "MemoryError",
}


def runs(api: HttpApi, code: str) -> dict[str, Any]:
    """Run a workload with this code, then a harmless one, which must complete. Return the record of the first."""
    answer = api.run(code.encode(), "text/plain")
    assert api.run(NEXT, "text/plain")["result"] == {"next": True}
    return answer


@pytest.mark.parametrize("code", SURVIVED.values(), ids=SURVIVED)
def test_the_next_workload_runs_after_a_handler_that(api: Callable[[str], HttpApi], code: str) -> None:
    assert runs(api("rough"), code)["status"] == "completed"


@pytest.mark.parametrize("code", FAILED, ids=FAILED.values())
def test_what_would_end_a_program_ends_its_workload(api: Callable[[str], HttpApi], code: str) -> None:
    error = runs(api("rough"), code)["error"]
    assert error["reason"] == "HANDLER_ERROR"
    assert error["message"].startswith(FAILED[code])


def test_a_segmentation_fault_is_told(api: Callable[[str], HttpApi]) -> None:
    """After the last allowed attempt, the workload fails, and its error names the signal."""
    answer = runs(api("deadly"), "import ctypes; ctypes.string_at(0)")
    assert (answer["status"], answer["error"]["reason"]) == ("failed", "WORKER_LOST")
    assert "SIGSEGV" in answer["error"]["message"]


def test_a_handler_that_dies_now_and_then_is_there_again_at_once(api: Callable[[str], HttpApi]) -> None:
    """The handler process dies, but its start never fails. So it is started again without a pause."""
    for _ in range(4):
        answer = api("deadly").run(b"import os; os._exit(5)", "text/plain")
        assert answer["error"]["message"] == "the handler's process ended with code 5 in each of 3 attempts"
        id = api("deadly").submit(NEXT, "text/plain")
        assert api("deadly").end(id, within_s=30)["result"] == {"next": True}


def test_a_handler_that_takes_more_than_compute_mem_to_load_runs_and_is_told(
    stack: Stack, api: Callable[[str], HttpApi]
) -> None:
    """`compute.mem` limits workloads, not the start. A handler that exceeds it while loading serves, with a warning."""
    assert api("large").run(b"{}", "application/json")["result"] == {"model_bytes": 100 << 20}
    until_blocking(lambda: [one for one in stack.log_records("large") if "exceeds compute.mem" in str(one)])


def test_deadly_workloads_in_a_row_put_nobody_off(api: Callable[[str], HttpApi]) -> None:
    """Six workloads kill the handler process, but its start never fails. So the next workload runs without a pause."""
    deadly = [api("deadly").submit(b"import os; os._exit(6)", "text/plain") for _ in range(6)]
    behind = api("deadly").submit(NEXT, "text/plain")
    for id in deadly:
        assert "ended with code 6" in api("deadly").end(id, within_s=30)["error"]["message"]
    assert api("deadly").end(behind, within_s=30)["result"] == {"next": True}


def test_a_handler_that_prints_100_mb_leaves_the_supervisors_small(stack: Stack, api: Callable[[str], HttpApi]) -> None:
    """50 MB in lines and 50 MB in one line make the worker and `insula up` grow by less than 10 MB each."""
    api("deadly").run(b"print('x' * 1000)", "text/plain")
    pids = [stack.processes("worker", "deadly")[0], stack.pid]
    before = [memory_mb(pid) for pid in pids]
    lines = "import sys\nfor _ in range(50_000): sys.stdout.write('x' * 999 + '\\n')"
    one_line = "import sys\nfor _ in range(50_000): sys.stdout.write('x' * 1000)\nsys.stdout.write('\\n')"
    for code in (lines, one_line):
        assert runs(api("deadly"), code)["status"] == "completed"
    api("deadly").run(b"print('all printed')", "text/plain")
    until_blocking(lambda: "all printed" in stack.printed("deadly"), within_s=30)
    grown = [memory_mb(pid) - mb for pid, mb in zip(pids, before, strict=True)]
    assert max(grown) < 10, grown
