"""Starting, restarting and stopping a supervised part, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path

from insula_local.supervision.probes import running
from insula_local.supervision.supervise import Part
from tests.contract.local.conftest import Bench
from tests.processes import command_line
from tests.waiting import until

FOREVER = "import signal; print('here', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); print('here', flush=True)\nwhile True: signal.pause()"
LEAVING = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {FOREVER!r}]).pid, flush=True)
sys.exit(1)
"""
KILLED = "was killed by signal 9 (SIGKILL, which the kernel sends when memory runs out)"
ROOT = Path(__file__).resolve().parents[3]


def python(tmp_path: Path, code: str, **options: object) -> Part:
    command = (sys.executable, "-c", code)
    part = Part("part", command, dict(os.environ), tmp_path, tmp_path / "part.log", running())
    for name, value in options.items():
        object.__setattr__(part, name, value)
    return part


async def test_a_killed_part_is_started_again(bench: Bench, tmp_path: Path) -> None:
    """The delay is 0.1 s and doubles with each death. The watcher receives how the part ended."""
    supervised = await bench.start_ready(python(tmp_path, FOREVER))
    for _ in range(3):
        pid, lives = supervised.pid, len(bench.watched.was_ready)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(partial(_has_lived, bench, lives + 1))
        assert supervised.pid != pid
    assert bench.watched.deaths == [("part", KILLED, delay, []) for delay in (0.1, 0.2, 0.4)]
    assert bench.watched.started == ["part"]


def _has_lived(bench: Bench, times: int) -> bool:
    return len(bench.watched.was_ready) == times


async def test_a_part_that_fails_shows_its_last_lines(bench: Bench, tmp_path: Path) -> None:
    code = "import sys; print('hello'); print('no such luck', file=sys.stderr); sys.exit(3)"
    bench.start(python(tmp_path, code))
    await until(lambda: bench.watched.deaths)
    [name, how, _, lines] = bench.watched.deaths[0]
    assert (name, how, sorted(lines)) == ("part", "ended with code 3", ["hello", "no such luck"])
    assert b"no such luck" in (tmp_path / "part.log").read_bytes()


async def test_a_part_that_does_not_become_ready_is_started_again(bench: Bench, tmp_path: Path) -> None:
    async def never(pid: int) -> bool:
        return pid < 0

    bench.start(python(tmp_path, FOREVER, probe=never, ready_s=0.3))
    await until(lambda: bench.watched.deaths)
    assert bench.watched.deaths[0][:2] == ("part", "was not ready within 0.3 s")
    assert bench.watched.was_ready == []


async def test_a_program_that_does_not_exist_is_reported(bench: Bench, tmp_path: Path) -> None:
    bench.start(python(tmp_path, FOREVER, command=("/nonexistent/program",)))
    await until(lambda: bench.watched.deaths)
    assert bench.watched.deaths[0][1] == "ended with code 1"
    assert "No such file" in bench.watched.deaths[0][3][0]


async def test_a_part_that_ignores_sigterm_is_killed_in_time(bench: Bench, tmp_path: Path) -> None:
    lines: list[str] = []
    supervised = bench.start(python(tmp_path, STUBBORN, stop_s=0.3, take_line=lines.append))
    await until(lambda: lines == ["here"])
    await asyncio.wait_for(supervised.stop(), 30)
    assert supervised.pid is None
    assert bench.watched.deaths == []


async def test_the_processes_of_a_part_end_with_it(bench: Bench, tmp_path: Path) -> None:
    """A grandchild in the part's process group ends with the part. Its open stdout does not delay the report."""
    lines: list[str] = []
    bench.start(python(tmp_path, LEAVING, take_line=lines.append))
    await until(lambda: bench.watched.deaths)
    await until(lambda: command_line(int(lines[0])) == "")


async def test_no_child_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """When the supervisor is killed with SIGKILL, the kernel ends its children."""
    command = [sys.executable, "-m", "tests.contract.local.supervisor", str(tmp_path)]
    supervisor = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert supervisor.stdout is not None
    child = int(await asyncio.wait_for(supervisor.stdout.readline(), 60))
    await until(lambda: command_line(child).endswith("signal.pause() ") and "tether" not in command_line(child))
    supervisor.kill()
    await supervisor.wait()
    await until(lambda: command_line(child) == "", within_s=30)
