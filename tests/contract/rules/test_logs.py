"""The lines that a worker logs about its handler and about each workload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.http_api import HttpApi
from tests.stack import Stack
from tests.waiting import until_blocking


def records(stack: Stack, api: str, message: str) -> list[dict[str, Any]]:
    return [record for record in stack.log_records(api) if record.get("message") == message]


def records_of(stack: Stack, api: str, id: str) -> list[dict[str, Any]]:
    """Wait until the workload's last line has been logged. Return the lines with its id."""

    def found() -> list[dict[str, Any]]:
        return [record for record in stack.log_records(api) if record.get("id") == id]

    last = {"workload processing complete", "failed to process workload"}
    until_blocking(lambda: last & {record["message"] for record in found()})
    return found()


def test_the_worker_says_which_handler_it_loads(stack: Stack) -> None:
    assert records(stack, "settings", "loading the handler from app/handler.py")


def test_the_worker_says_that_it_polls(stack: Stack) -> None:
    assert records(stack, "echo", "polling for workloads...")


def test_a_workload_has_a_first_and_a_last_line_with_its_id(stack: Stack, echo: HttpApi) -> None:
    id = echo.run(b"{}", "application/json")["id"]
    messages = [record["message"] for record in records_of(stack, "echo", id)]
    assert messages == ["processing workload...", "workload processing complete"]


def test_a_failed_workload_has_a_line_with_its_traceback(stack: Stack, api: Callable[[str], HttpApi]) -> None:
    id = api("rough").run(b"1 / 0", "text/plain")["id"]
    [failed] = [r for r in records_of(stack, "rough", id) if r["message"] == "failed to process workload"]
    assert "ZeroDivisionError: division by zero" in str(failed)
    assert "rough.py" in str(failed)


def test_the_log_level_is_the_one_of_cortex_yaml(stack: Stack, api: Callable[[str], HttpApi]) -> None:
    """cortex.yaml of the API `settings` sets `debug`, so a line of this level is logged."""
    api("settings").run(b"{}", "application/json")
    until_blocking(lambda: records(stack, "settings", "seen at level debug"))
    assert records(stack, "settings", "seen at level debug")[0]["levelname"] == "DEBUG"
