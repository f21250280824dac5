"""The start of a runner: the handler's surroundings, and the errors of handlers that cannot start."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from insula_runner.aws import GIVEN_VARIABLE
from insula_worker.runners.messages import Completed
from insula_worker.runners.process import HandlerStartFailed, RunnerLaunch
from tests.contract.runner.conftest import Start, handler
from tests.handler_output import Printed
from tests.processes import descendants
from tests.running import Running, job
from tests.views import isolated_view
from tests.waiting import until

BASE_PYTHON = Path(getattr(sys, "_base_executable", sys.executable))


async def ask(runner: Running) -> dict[str, object]:
    outcome = await runner.run(job())
    assert isinstance(outcome, Completed), outcome
    answer: dict[str, object] = json.loads(outcome.result_json)
    return answer


async def test_the_project_is_the_working_directory_and_first_on_the_path(start: Start, launch: RunnerLaunch) -> None:
    (launch.project / "values.json").write_text('{"a": 1}')
    (launch.project / "neighbour.py").write_text("NAME = 'neighbour'")
    runner = await start(
        """
        import json, os, sys
        import neighbour
        class Handler:
            def __init__(self, config):
                with open('values.json') as values_file:
                    self.values = json.load(values_file)
            def handle_async(self):
                return {"values": self.values, "name": neighbour.NAME, "path": sys.path[0], "cwd": os.getcwd()}
        """
    )
    root = str(launch.project)
    assert await ask(runner) == {"values": {"a": 1}, "name": "neighbour", "path": root, "cwd": root}


async def test_python_path_replaces_the_project_on_sys_path(start: Start, launch: RunnerLaunch) -> None:
    (launch.project / "src").mkdir()
    (launch.project / "src" / "inner.py").write_text("NAME = 'inner'")
    runner = await start(
        "import sys\n" + handler("import inner; return {'path': sys.path}"), replace(launch, python_path="src")
    )
    path = (await ask(runner))["path"]
    assert isinstance(path, list)
    assert str(launch.project / "src") in path
    assert str(launch.project) not in path


async def test_programs_the_handler_starts_find_the_projects_modules(start: Start, launch: RunnerLaunch) -> None:
    """The project's folder is on the programs' sys.path, after the entries of the user's PYTHONPATH."""
    (launch.project / "neighbour.py").write_text("NAME = 'neighbour'")
    (launch.project / "tools").mkdir()
    (launch.project / "tools" / "tool.py").write_text(
        "import json, neighbour, sys; print(json.dumps([neighbour.NAME, *sys.path]))"
    )
    runner = await start(
        "import json, subprocess, sys\n"
        + handler("return {'said': json.loads(subprocess.check_output([sys.executable, 'tools/tool.py']))}"),
        replace(launch, environment={**launch.environment, "PYTHONPATH": "/theirs"}),
    )
    said = (await ask(runner))["said"]
    assert isinstance(said, list)
    assert said[0] == "neighbour"
    assert said.index("/theirs") < said.index(str(launch.project))


async def test_the_handler_can_import_only_two_packages_of_insula(start: Start, launch: RunnerLaunch) -> None:
    """The handler's interpreter, without Insula installed, finds cortex_internal and insula_runner only."""
    runner = await start(
        handler(
            """
            import importlib.util, sys
            from cortex_internal.lib.log import logger
            names = ["insula", "insula_worker", "insula_runner", "cortex_internal", "frames", "redis", "grpc"]
            found = [name for name in names if importlib.util.find_spec(name)]
            return {"found": found, "services": [entry for entry in sys.path if "services" in entry], "argv": sys.argv}
            """
        ),
        replace(launch, python=BASE_PYTHON),
    )
    answer = await ask(runner)
    assert answer["found"] == ["insula_runner", "cortex_internal"]
    assert answer["services"] == []
    assert str(answer["argv"]).endswith("handler.py']")


async def test_a_module_of_the_project_may_be_called_like_one_of_the_standard_library(
    start: Start, launch: RunnerLaunch
) -> None:
    for name in ("json", "socket", "traceback", "inspect", "frames"):
        (launch.project / f"{name}.py").write_text("raise ImportError('not this one')")
    assert await ask(await start(handler("return {'fine': True}"))) == {"fine": True}


async def test_environment_and_config_are_what_the_worker_gave(start: Start, launch: RunnerLaunch) -> None:
    runner = await start(
        """
        import os
        class Handler:
            def __init__(self, config):
                self.config = config
                config["seen"] = True
            def handle_async(self):
                names = sorted(name for name in os.environ if not name.startswith(("INSULA_", "LC_", "PWD", "_")))
                return {"config": self.config, "names": names, "mine": os.environ["MINE"]}
        """,
        replace(launch, config={"model": {"path": "s3://x"}}, environment={"MINE": "1"}, log_level="warning"),
    )
    assert await ask(runner) == {
        "config": {"model": {"path": "s3://x"}, "seen": True},
        "names": [
            *("CORTEX_API_KIND", "CORTEX_API_NAME", "CORTEX_LOG_LEVEL", "CORTEX_PROJECT_DIR", "CORTEX_PYTHON_PATH"),
            *("MINE", "PYTHONINTMAXSTRDIGITS", "PYTHONPATH", "PYTHONUTF8"),
        ],
        "mine": "1",
    }


async def test_init_runs_once_after_the_module_and_before_the_first_job(start: Start, launch: RunnerLaunch) -> None:
    runner = await start(
        """
        calls = ["module"]
        class Handler:
            def __init__(self, config):
                calls.append("init")
                open("initialised", "w").close()
            def handle_async(self):
                calls.append("job")
                return {"calls": calls}
        """
    )
    assert (launch.project / "initialised").exists()
    await ask(runner)
    assert await ask(runner) == {"calls": ["module", "init", "job", "job"]}


@pytest.mark.parametrize(
    ("source", "text", "traced"),
    [
        (
            "class Handler:\n    def __init__(self, config): 1 / 0\n    def handle_async(self): pass",
            "failed to initialize handler implementation: handler.py: __init__: division by zero",
            True,
        ),
        (
            "import sys\nclass Handler:\n    def __init__(self, config): sys.exit()\n    def handle_async(self): pass",
            "failed to initialize handler implementation: handler.py: __init__: SystemExit",
            True,
        ),
        ("import nowhere", "error in handler.py: ModuleNotFoundError: No module named 'nowhere'", True),
        ("def f(:", "error in handler.py: SyntaxError: invalid syntax", True),
        ("class Handle:\n    def handle_async(self): pass", "found class Handle, expected Handler", False),
        ("import os; os._exit(7)", "the handler's process ended with code 7 while loading handler.py", False),
    ],
)
async def test_a_handler_that_cannot_start_is_refused_with_its_reason(
    start: Start, source: str, text: str, traced: bool
) -> None:
    with pytest.raises(HandlerStartFailed) as refused:
        await start(source)
    assert text in str(refused.value)
    assert ("Traceback" in refused.value.traceback) == traced


async def test_a_start_that_takes_too_long_is_ended(launch: RunnerLaunch) -> None:
    others = runners()  # of a stack that other tests share
    (launch.project / "handler.py").write_text("import time\nopen('begun', 'w').close()\ntime.sleep(99)")
    for limit_s in (1, 5, 25):  # a slow machine may not even have begun
        with pytest.raises(HandlerStartFailed, match=rf"handler\.py was not ready within {limit_s} s"):
            await Running.start(launch, start_timeout_s=limit_s, lines=Printed())
        if (launch.project / "begun").exists():
            break
    assert runners() <= others


def runners() -> set[int]:
    """Return the pids of the handler processes that this process has started."""
    return {pid for pid, command in descendants(os.getpid()).items() if "insula_runner" in command}


@pytest.mark.parametrize("field", ["python", "project"])
async def test_a_launch_failure_is_named(launch: RunnerLaunch, field: str) -> None:
    if field == "python":
        broken = replace(launch, python=Path("/nowhere/python"))
    else:
        broken = replace(launch, project=launch.project / "nowhere")
    with pytest.raises(HandlerStartFailed, match="the handler's process"):
        await Running.start(broken, start_timeout_s=30, lines=Printed())


async def test_the_handler_sees_the_hosts_file_given(start: Start, launch: RunnerLaunch, tmp_path: Path) -> None:
    """The handler has an /etc/hosts of its own, so the names of other APIs resolve in every client library.

    Only the handler process and its children see this file.
    """
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n127.8.7.6 api-text-generator\n")
    runner = await start(
        handler("import socket", "return {'address': socket.gethostbyname('api-text-generator')}"),
        replace(launch, view=isolated_view(launch.project, hosts=hosts)),
    )
    assert await ask(runner) == {"address": "127.8.7.6"}


async def test_prints_and_log_lines_come_out_at_once(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    runner = await start(
        textwrap.dedent(
            """
            from cortex_internal.lib.log import logger as log
            class Handler:
                def handle_async(self, payload):
                    print("printed", payload)
                    log.info("logged", extra={"payload": payload})
                    return {}
            """
        )
    )
    await ask(runner)
    lines: list[dict[str, object]] = []

    def both_came() -> bool:
        lines.extend(json.loads(line) for line in capfd.readouterr().err.splitlines())
        return len(lines) == 2

    await until(both_came)
    printed, logged = lines
    assert printed["message"] == "printed {}"
    assert (logged["message"], logged["payload"], logged["process"]) == ("logged", {}, runner.process.own_pid)
    assert logged["labels"] == {"apiName": "echo", "apiKind": "AsyncAPI"}


@pytest.mark.parametrize("locale", [{"LANG": "C"}, {"LC_ALL": "POSIX"}, {"LC_ALL": "en_US.ISO-8859-1"}])
async def test_text_is_utf_8_whatever_the_locale(start: Start, launch: RunnerLaunch, locale: dict[str, str]) -> None:
    """Files, output and file names are UTF-8, in the handler and in Python programs that it starts."""
    (launch.project / "läuft.txt").write_text("grüße ✓", encoding="utf-8")
    runner = await start(
        """
        import os, subprocess, sys
        PRINT = "import os; print(open(os.listdir('.')[0]).read())"
        class Handler:
            def handle_async(self):
                os.mkdir("only")
                os.rename("läuft.txt", "only/läuft.txt")
                printed = subprocess.check_output([sys.executable, "-c", PRINT], cwd="only")
                print("grüße ✓")
                return {"read": open("only/läuft.txt").read(), "printed": printed.decode("utf-8").strip()}
        """,
        replace(launch, environment={**launch.environment, **locale}),
    )
    assert await ask(runner) == {"read": "grüße ✓", "printed": "grüße ✓"}


AMAZON = """
import os
from multiprocessing import get_context
import boto3

def endpoint(service, **given):
    return boto3.session.Session().client(service, **given).meta.endpoint_url

class Handler:
    def __init__(self, config):
        self.endpoints = {
            "ours": endpoint("s3"),
            "keys in code": endpoint("s3", aws_access_key_id="OWN", aws_secret_access_key="own"),
            "sqs": endpoint("sqs"),
        }
        os.environ["AWS_ACCESS_KEY_ID"] = "OWN"
        self.endpoints["keys set later"] = endpoint("s3")
    def handle_async(self):
        with get_context("spawn").Pool(1) as pool:
            return {**self.endpoints, "in a child": pool.apply(endpoint, ["s3"])}
"""


async def test_clients_with_other_keys_and_other_services_reach_amazon(start: Start, launch: RunnerLaunch) -> None:
    """boto3's clients of S3 use the stack's S3. Those with other keys, or of other services, use Amazon.

    tests/contract/dependencies has the same test with a boto3 of 2021.
    """
    given = {
        "AWS_ACCESS_KEY_ID": "GIVEN",
        "AWS_SECRET_ACCESS_KEY": "given",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        GIVEN_VARIABLE: "GIVEN http://127.0.0.1:1",
    }
    runner = await start(AMAZON, replace(launch, environment={**launch.environment, **given}))
    amazon = "https://s3.eu-west-1.amazonaws.com"
    assert await ask(runner) == {
        "ours": "http://127.0.0.1:1",
        "keys in code": amazon,
        "sqs": "https://sqs.eu-west-1.amazonaws.com",
        "keys set later": amazon,
        "in a child": amazon,
    }
