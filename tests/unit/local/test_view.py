from __future__ import annotations

import json
import os
import pty
import re
import termios
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from insula.phase import ApiState
from insula.telemetry.log_lines import LogForm
from insula_local.api import LocalApi
from insula_local.view.live import LiveView
from insula_local.view.plain import ROUTINE, Announcement, View, curl
from insula_local.view.terminal import Terminal
from insula_worker.logs.line import line_fields
from tests.unit.house.tree import python_files, strings

URL = "http://127.0.0.1:8080/api"


def announcement(*apis: LocalApi) -> Announcement:
    return Announcement(
        public="http://127.0.0.1:8080",
        internal="http://127.0.0.1:8888",
        admin="127.0.0.1:1234",
        redis="redis://127.0.0.1:1235/0",
        s3_endpoint="http://127.0.0.1:1236",
        s3_environment={"AWS_REGION": "us-east-1"},
        results_metrics="http://127.0.0.1:8/metrics",
        worker_metrics={"echo": "http://127.0.0.1:9/metrics"},
        data=Path("/data"),
        seconds=4.2,
        apis=apis,
    )


def test_the_json_line_has_the_addresses_and_the_apis(tmp_path: Path) -> None:
    line = announcement(LocalApi("api", URL, tmp_path, state=ApiState.FAILING, reason="no such module")).as_json()
    assert "\n" not in line
    assert json.loads(line) == {
        "public": "http://127.0.0.1:8080",
        "internal": "http://127.0.0.1:8888",
        "admin": "127.0.0.1:1234",
        "redis": "redis://127.0.0.1:1235/0",
        "s3": {"endpoint": "http://127.0.0.1:1236", "env": {"AWS_REGION": "us-east-1"}},
        "metrics": {"results": "http://127.0.0.1:8/metrics", "workers": {"echo": "http://127.0.0.1:9/metrics"}},
        "data": "/data",
        "apis": [{"name": "api", "state": "failing", "reason": "no such module"}],
    }


def test_a_ready_api_has_a_command_that_calls_it(tmp_path: Path) -> None:
    failing = LocalApi("other", URL + "/other", tmp_path, state=ApiState.FAILING, reason="no such module")
    text = announcement(LocalApi("api", URL, tmp_path, state=ApiState.READY), failing).as_text()
    assert "http://127.0.0.1:8080" in text
    assert f"curl {URL} -H" in text
    assert f"curl {URL}/<id>" in text
    assert "/other" not in text


def test_the_command_sends_a_sample_of_the_project(tmp_path: Path) -> None:
    api = LocalApi("api", URL, tmp_path, state=ApiState.READY)
    assert curl(api) == f"curl {URL} -H 'Content-Type: application/json' -d '{{\"key\": \"value\"}}'"
    (tmp_path / "samples").mkdir()
    sample = tmp_path / "samples" / "a.txt"
    sample.write_text("a")
    assert curl(api) == f"curl {URL} -H 'Content-Type: text/plain; charset=utf-8' --data-binary @{sample}"
    (tmp_path / "sample.json").write_text("{}")
    assert curl(api) == f"curl {URL} -H 'Content-Type: application/json' --data-binary @{tmp_path}/sample.json"


def test_the_text_has_the_urls_for_prometheus() -> None:
    text = announcement().as_text()
    assert "Metrics http://127.0.0.1:8/metrics and http://127.0.0.1:8/workers/<api>/metrics" in text


WORKER = 7
HANDLER = 8
RECORD = {
    "asctime": "2026-11-26 15:14:05,291",
    "levelname": "INFO",
    "message": "",
    "process": HANDLER,
    "labels": {"apiName": "echo"},
}
"""The keys of a worker's line, in its order."""


def record(message: str, **more: object) -> str:
    return json.dumps({**RECORD, "message": message, **more})


@contextmanager
def piped(form: LogForm = LogForm.PLAIN, *, verbose: bool = False) -> Generator[tuple[View, list[str]]]:
    """Yield a view on a pipe, and a list that has its lines after the block."""
    reader, writer = os.pipe()
    shown: list[str] = []
    yield View(Terminal(writer), form, verbose=verbose), shown
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        shown += pipe.read().splitlines()


@contextmanager
def on_screen(columns: int, form: LogForm = LogForm.PLAIN) -> Generator[tuple[LiveView, list[str]]]:
    """Yield a view on a terminal of this width, and a list that has its text after the block."""
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, columns))
    shown: list[str] = []
    try:
        view = LiveView(Terminal(writer), form)
        yield view, shown
        view.up()
    finally:
        os.close(writer)
    held = b""
    with suppress(OSError):  # the other side is closed
        while data := os.read(reader, 65536):
            held += data
    os.close(reader)
    shown.append(held.decode().replace("\r\n", "\n"))


def test_a_slow_reader_loses_lines_and_does_not_block() -> None:
    """Lines for a full pipe are dropped. Once the pipe is read again, the next line reports how many."""
    reader, writer = os.pipe()
    view = View(Terminal(writer))
    for number in range(3000):
        view.worker_line("api", f"{number} {'x' * 100}", None)
    held = b""
    while not held.endswith(b"\n") or len(held) < 60_000:
        held += os.read(reader, 65536)
    view.worker_line("api", "after", None)
    after = os.read(reader, 65536).decode()
    os.close(reader)
    os.close(writer)
    assert held.startswith(b"api 0 x")
    assert "pieces of output were dropped" in after
    assert after.endswith("api after\n")


def test_a_long_line_of_a_handler_is_cut() -> None:
    with piped() as (view, shown):
        view.worker_line("echo", record("x" * 10_000), WORKER)
    assert [len(line) for line in shown] == [2000]


@pytest.fixture(autouse=True)
def _colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_pipe_gets_plain_rows_with_a_row_for_each_line_of_the_traceback() -> None:
    with piped() as (view, shown):
        view.worker_line("echo", record("hello", id="0192", seconds=1.5), WORKER)
        view.worker_line("echo", record("failed", levelname="ERROR", traceback="Traceback:\n  X"), WORKER)
        view.worker_line("echo", "no record", WORKER)
    assert shown == [
        "15:14:05 INFO    echo hello seconds=1.5 0192",
        "15:14:05 ERROR   echo failed",
        "  Traceback:",
        "    X",
        "echo no record",
    ]


def test_an_unexpected_error_is_shown_with_its_traceback() -> None:
    with piped() as (view, shown):
        view.failed(RuntimeError("boom"))
    assert shown[0].endswith(" ERROR   insula up failed")
    assert shown[-1] == "  RuntimeError: boom"
    with piped(form=LogForm.JSON) as (view, shown):
        view.failed(RuntimeError("boom"))
    line = json.loads(shown[0])
    assert (line["levelname"], line["message"]) == ("ERROR", "insula up failed")
    assert "RuntimeError: boom" in line["traceback"]


def test_routine_lines_of_a_worker_are_shown_with_verbose() -> None:
    """Other lines of the worker, and the same text from a handler, are always shown."""
    for verbose, seen in ((False, ["saw this"]), (True, [*sorted(ROUTINE), "saw this"])):
        with piped(verbose=verbose) as (view, shown):
            for message in (*sorted(ROUTINE), "saw this"):
                view.worker_line("echo", record(message, process=WORKER), WORKER)
        assert shown == [f"15:14:05 INFO    echo {message}" for message in seen]
    with piped() as (view, shown):
        for message in ROUTINE:
            view.worker_line("echo", record(message, process=HANDLER), WORKER)
    assert len(shown) == len(ROUTINE)
    with piped() as (view, shown):  # Python converts no number of so many digits
        view.worker_line("echo", record(min(ROUTINE), process=HANDLER).replace("8", "8" * 5000, 1), WORKER)
    assert len(shown) == 1


def test_a_worker_still_logs_each_routine_message() -> None:
    """The view recognises the start of a routine line, so the worker must log exactly these texts and this order."""
    assert list(line_fields(0, "INFO", "", {})) == list(RECORD)
    assert {str(node.value) for _, tree in python_files("services/worker/") for node in strings(tree)} >= ROUTINE


def test_the_json_form_prints_every_line_unchanged() -> None:
    lines = [record("version changed its phase", process=WORKER), record("\x9b hello", id="0192"), "no record \x9b"]
    with piped(LogForm.JSON) as (view, shown):
        for line in lines:
            view.worker_line("echo", line, WORKER)
    assert shown == lines


def test_a_pipe_gets_the_progress_of_an_installation_every_10_s() -> None:
    api = LocalApi("echo", URL, phase="installing")
    with piped() as (view, shown):
        for now in range(100, 131):
            api.progress = f"Collecting {now}" if now > 105 else ""
            view.phase(api, now)
        api.phase, api.progress = "starting", ""
        view.phase(api, 131)
    assert [line.split(maxsplit=1) for line in shown] == [
        ["echo", text]
        for text in (
            "installing",
            "installing: Collecting 110",
            "installing: Collecting 120",
            "installing: Collecting 130",
            "starting",
        )
    ]


COLOUR = re.compile(r"\x1b\[[0-9;]*m")
STYLING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_a_terminal_shows_the_level_in_colour_and_control_characters_as_escapes() -> None:
    with on_screen(50) as (view, shown):
        view.worker_line("echo", record("a \x1b[2J b", levelname="ERROR", traceback="T\n\x9b2J [red]"), WORKER)
    assert "\x1b[31mERROR  " in shown[0]
    assert "\x1b[36mecho" in shown[0]
    assert "15:14:05 ERROR   echo a \\x1b[2J b\n  T\n  \\x9b2J [red]\n" in STYLING.sub("", shown[0])


def test_json_on_a_terminal_has_no_colour_and_no_control_characters() -> None:
    line = '{"message": "a \x9b2J"}'
    with on_screen(50, LogForm.JSON) as (view, shown):
        view.worker_line("echo", line, WORKER)
    assert '{"message": "a \\x9b2J"}\n' in shown[0]
    assert COLOUR.search(shown[0].partition("{")[2].partition("}")[0]) is None


def test_the_spinner_shows_the_progress_of_each_installation() -> None:
    """It fits a terminal of 50 columns. A log line above it is not cut."""
    api, other = (LocalApi(name, URL, phase="installing") for name in ("echo", "other"))
    api.progress, other.progress = "Collecting \x1b[2J tensorflow " + "x" * 100, "Solving environment"
    with on_screen(50) as (view, shown):
        view.starting("valkey")
        view.phase(api, 0)
        view.phase(other, 0)
        view.worker_line("echo", record("y" * 100), WORKER)
        view.api(LocalApi("echo", URL, state=ApiState.READY), 1)
    lines = [STYLING.sub("", line) for line in re.split(r"[\r\n]+", shown[0])]
    spinning = [line for line in lines if "starting" in line or line.startswith("  echo: ") or "Solving" in line]
    assert any("valkey, echo (installing)" in line for line in spinning)
    assert any(line.startswith("  echo: Collecting \\x1b[2J tensorflow xx") for line in spinning)
    assert "  other: Solving environment" in spinning
    assert max(map(len, spinning)) == 50
    assert f"15:14:05 INFO    echo {'y' * 100}" in lines


def test_after_the_start_a_terminal_shows_installations_line_by_line() -> None:
    api = LocalApi("echo", URL, phase="installing", progress="Collecting numpy")
    with on_screen(50) as (view, shown):
        view.up()
        view.phase(api, 100)
        view.phase(api, 101)
    assert shown[0].count("installing: Collecting numpy\n") == 1
