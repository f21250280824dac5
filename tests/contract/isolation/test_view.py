"""The view of a handler: the files of the machine, except for a few folders of its own."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from insula_worker.runners.memory import Measured, bytes_over
from tests.contract.isolation.conftest import Machine
from tests.processes import descendants
from tests.running import RunnerDied, job
from tests.waiting import until


async def test_tmp_and_shared_memory_are_new_at_each_start_and_tmp_is_on_disk(machine: Machine) -> None:
    """A handler that makes a folder in /tmp can therefore be started twice. The folder is removed after its end."""
    api = machine.api("echo")
    make = """
        import os
        for folder in ("/tmp", "/dev/shm"):
            os.mkdir(folder + "/model")
        found = [os.stat("/tmp").st_dev == os.stat(os.getcwd()).st_dev, oct(os.stat("/tmp").st_mode)[-4:]]
    """
    handler = await api.start()
    assert await handler.found(make) == [True, "1777"]
    with pytest.raises(RunnerDied):
        await handler.runner.run(job(b'"import os; os._exit(9)"'))
    assert await handler.runner.process.wait_exit() == "ended with code 9"
    again = await api.start_again(handler.launch)
    assert await again.found(make) == [True, "1777"]
    await again.runner.process.stop(0)
    assert not list(api.folder.glob("tmp.*"))
    assert not Path("/tmp/model").exists()


async def test_the_project_is_at_cortexs_path_and_the_variables_have_this_path(machine: Machine) -> None:
    api = machine.api("echo")
    api.write("words.txt", "cat")
    look = """
        import os
        found = [os.environ["CORTEX_PROJECT_DIR"], os.environ["CORTEX_PYTHON_PATH"]]
        found += [open("/mnt/project/words.txt").read(), open("words.txt").read()]
        open("/mnt/project/new.txt", "w").close()
    """
    handler = await api.start()
    assert await handler.found(look) == ["/mnt/project", "/mnt/project", "cat", "cat"]
    assert (api.project / "new.txt").exists()


async def test_a_running_handler_sees_changes_of_the_hosts_file(machine: Machine) -> None:
    """It can therefore call an API that is deployed later."""
    handler = await machine.api("echo").start()
    ask = "import socket; found = socket.gethostbyname('api-{}')"
    assert await handler.found(ask.format("echo")) == "127.8.7.6"
    with machine.hosts.open("a") as hosts:
        hosts.write("127.8.7.6 api-later\n")
    assert await handler.found(ask.format("later")) == "127.8.7.6"


async def test_orphans_are_reaped_and_daemons_end_with_the_handler(machine: Machine) -> None:
    leave = """
        import os, subprocess
        orphan = subprocess.check_output(["sh", "-c", "true > /dev/null & echo $!"], text=True).strip()
        while os.path.exists(f"/proc/{orphan}"):
            pass
        subprocess.Popen(["sleep", "4242"], start_new_session=True)
        found = "reaped"
    """
    handler = await machine.api("echo").start()
    assert await handler.found(leave) == "reaped"

    def sleeping() -> list[int]:
        return [
            pid for pid, command in descendants(handler.runner.process.pid).items() if command.startswith("sleep 4242")
        ]

    await until(sleeping)  # its command line changes only at exec
    daemon = os.pidfd_open(sleeping()[0])
    await handler.runner.process.stop(0)
    ended, _, _ = select.select([daemon], [], [], 0)  # without a wait: it must have ended before `stop` returned
    os.close(daemon)
    assert ended


async def test_python_shares_memory_between_processes(machine: Machine) -> None:
    """Data loaders of machine learning libraries use /dev/shm for it."""
    share = """
        import multiprocessing
        from multiprocessing import shared_memory
        block = shared_memory.SharedMemory(create=True, size=1 << 20)
        context = multiprocessing.get_context("fork")
        child = context.Process(target=lambda: block.buf.__setitem__(0, 42))
        child.start()
        child.join()
        found = [block.buf[0], context.Semaphore(1).acquire()]
        block.close()
        block.unlink()
    """
    assert await (await machine.api("echo").start()).found(share) == [42, True]


async def test_the_processes_that_isolate_a_handler_do_not_count_as_its_memory(machine: Machine) -> None:
    handler = await machine.api("echo").start()
    look = """
        pss = next(line for line in open("/proc/self/smaps_rollup") if line.startswith("Pss:"))
        found = int(pss.split()[1]) * 1024
    """
    own = await handler.found(look)
    process = handler.runner.process
    [counted] = bytes_over([Measured(process.pid, process.generations)], 1)
    assert abs(counted - own) < 2 << 20
    assert bytes_over([Measured(process.pid)], 1) > [counted]


async def test_a_signal_and_an_exit_code_above_128_are_distinguished(machine: Machine) -> None:
    api = machine.api("echo")
    handler = await api.start()
    for code, end in (
        ("os._exit(139)", "ended with code 139"),
        ("os.kill(os.getpid(), 11)", "was killed by signal 11 (SIGSEGV)"),
        ("os.killpg(0, 15)", "was killed by signal 15 (SIGTERM)"),
    ):
        payload = f'"import os; {code}"'.encode()
        with pytest.raises(RunnerDied):
            await handler.runner.run(job(payload))
        assert await handler.runner.process.wait_exit() == end
        handler = await api.start_again(handler.launch)
