from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from insula.phase import ApiState
from insula_local.api import LocalApi
from insula_local.view.plain import Announcement, View, curl, readable
from insula_local.view.terminal import Terminal

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


def test_the_json_line_has_what_programs_need(tmp_path: Path) -> None:
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


def test_a_ready_api_comes_with_the_line_that_calls_it(tmp_path: Path) -> None:
    failing = LocalApi("other", URL + "/other", tmp_path, state=ApiState.FAILING, reason="no such module")
    text = announcement(LocalApi("api", URL, tmp_path, state=ApiState.READY), failing).as_text()
    assert "http://127.0.0.1:8080" in text
    assert f"curl {URL} -H" in text
    assert f"curl {URL}/<id>" in text
    assert "/other" not in text


def test_the_line_sends_a_sample_of_the_project(tmp_path: Path) -> None:
    api = LocalApi("api", URL, tmp_path, state=ApiState.READY)
    assert curl(api) == f"curl {URL} -H 'Content-Type: application/json' -d '{{\"key\": \"value\"}}'"
    (tmp_path / "samples").mkdir()
    sample = tmp_path / "samples" / "a.txt"
    sample.write_text("a")
    assert curl(api) == f"curl {URL} -H 'Content-Type: text/plain; charset=utf-8' --data-binary @{sample}"
    (tmp_path / "sample.json").write_text("{}")
    assert curl(api) == f"curl {URL} -H 'Content-Type: application/json' --data-binary @{tmp_path}/sample.json"


def test_a_reader_that_stalls_costs_lines_and_never_time() -> None:
    """A full pipe takes nothing more; once it is read again, the next line says how much is missing."""
    reader, writer = os.pipe()
    view = View(Terminal(writer))
    for number in range(3000):
        view.handler_line("api", f"{number} {'x' * 100}")
    held = b""
    while not held.endswith(b"\n") or len(held) < 60_000:
        held += os.read(reader, 65536)
    view.handler_line("api", "after")
    after = os.read(reader, 65536).decode()
    os.close(reader)
    os.close(writer)
    assert held.startswith(b"[api] 0 x")
    assert "pieces of output were dropped" in after
    assert after.endswith("[api] after\n")


def test_a_handlers_very_long_line_is_cut() -> None:
    reader, writer = os.pipe()
    View(Terminal(writer)).handler_line("api", "x" * 10_000)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert len(pipe.read()) < 2100


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("printed by a part that is no worker", "printed by a part that is no worker"),
        ('{"levelname": "INFO", "message": "hello", "process": 1, "labels": {}, "id": "a"}', 'hello {"id": "a"}'),
        ('{"levelname": "ERROR", "message": "failed", "traceback": "Traceback\\nX"}', "ERROR failed\nTraceback\nX"),
        ("[1]", "[1]"),
    ],
)
def test_a_workers_line_is_shown_as_a_person_reads_it(line: str, shown: str) -> None:
    assert readable(line) == shown


def test_the_routine_of_each_workload_is_not_for_the_eye() -> None:
    reader, writer = os.pipe()
    view = View(Terminal(writer))
    for message in ("processing workload...", "saw this", "workload processing complete"):
        view.handler_line("api", json.dumps({"levelname": "INFO", "message": message}))
    os.close(writer)
    with open(reader, "rb") as shown:
        assert shown.read() == b"[api] saw this\n"
