"""C1 to C8: errors of handlers that cannot start, and the surroundings of those that can."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.http_api import HttpApi
from tests.stack import Stack
from tests.waiting import until_blocking

SIGNATURE = (
    'error in broken_signature.py: class Handler: invalid signature for method "handle_async(self, payload, headers)": '
)
REASONS = {
    "broken-import": "error in broken_import.py: ModuleNotFoundError: No module named 'a_package_that_is_missing'",
    "broken-init": "failed to initialize handler implementation: broken_init.py: __init__: no model in {}",
    "broken-signature": f'{SIGNATURE}"headers" is not a supported argument',
    "broken-exit": "the handler's process ended with code 7 while loading broken_exit.py",
}


@pytest.mark.parametrize("name", REASONS)
def test_a_handler_that_cannot_start_is_failing_with_its_reason(stack: Stack, name: str) -> None:
    """`insula up --json` prints the reason. An error that is visible in the source is refused before the start."""
    state, reason = stack.state(name)
    assert (state, reason.splitlines()[0]) == ("failing", REASONS[name])


@pytest.mark.parametrize(("name", "cause"), [("broken-import", "import a_package"), ("broken-init", "raise Runtime")])
def test_the_reason_brings_the_traceback_of_user_code_alone(stack: Stack, name: str, cause: str) -> None:
    _, reason = stack.state(name)
    first, *_, last = [line for line in reason.splitlines() if line.startswith(("  File ", "Runtime", "ModuleNot"))]
    assert f"/project/{name.replace('-', '_')}.py" in first
    assert cause in reason
    assert last.startswith(("RuntimeError: no model", "ModuleNotFoundError: "))
    assert "insula_runner" not in reason


@pytest.mark.parametrize("name", ["broken-import", "broken-init"])
def test_the_workers_log_has_the_traceback_too(stack: Stack, name: str) -> None:
    def traced() -> list[str]:
        return [str(record) for record in stack.log_records(name) if "Traceback" in str(record)]

    until_blocking(traced)
    details = traced()
    assert REASONS[name] in details[0] or REASONS[name].replace("'", "\\'") in details[0]


@pytest.mark.parametrize(("name", "cause"), [("broken-import", "import a_package"), ("broken-init", "raise Runtime")])
def test_insula_get_shows_the_reason_with_its_traceback(stack: Stack, name: str, cause: str) -> None:
    command = [sys.executable, "-m", "insula.cli.main", "get", name, "--admin", stack.info["admin"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert f"{name} is failing: {REASONS[name]}" in done.stdout
    assert "Traceback (most recent call last):" in done.stdout
    assert cause in done.stdout


def test_c5_a_handler_whose_constructor_failed_is_started_again(stack: Stack) -> None:
    until_blocking(lambda: stack.printed("broken-init").count("an attempt to start") >= 3, within_s=30)


def test_c5_its_replica_is_not_ready_and_what_is_submitted_waits(stack: Stack, api: Callable[[str], HttpApi]) -> None:
    id = api("broken-init").submit(b"{}", "application/json")
    attempts = stack.printed("broken-init").count("an attempt to start")
    until_blocking(lambda: stack.printed("broken-init").count("an attempt to start") > attempts, within_s=60)
    assert [status for changed, status in stack.updates("broken-init") if changed == id] == ["in_queue"]


def test_dependencies_that_cannot_be_installed_end_the_start_with_their_output(stack: Stack) -> None:
    """A failing dependencies.sh ends the start. The reason has the script's exit code and output."""
    state, reason = stack.state("broken-dependencies")
    assert state == "failing"
    assert "broken.sh failed with exit code 3" in reason
    assert reason.endswith("there is no such compiler")


def test_the_apis_beside_them_are_ready(stack: Stack) -> None:
    assert [stack.state(name) for name in ("echo", "settings", "gated", "rough", "deadly")] == [("ready", "")] * 5


def test_c8_python_path_takes_the_place_of_the_root(api: Callable[[str], HttpApi]) -> None:
    """`sys.path` has the folder `python_path` and not the project's root. The working directory stays the root."""
    found = api("settings").run(b"{}", "application/json")["result"]
    assert found["inner"] == "found by python_path"
    assert not found["root_on_path"]
    assert {"app", "echo.py"} <= set(found["files_here"])


def test_env_file_overrides_handler_env(api: Callable[[str], HttpApi]) -> None:
    assert api("settings").run(b"{}", "application/json")["result"]["variables"] == {
        "RULES_FROM_YAML": "from cortex.yaml",
        "RULES_FROM_ENV_FILE": "from .env",
        "RULES_FROM_BOTH": "from .env",
    }
