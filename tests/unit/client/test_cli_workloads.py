"""`insula submit` and `insula result`: output and exit codes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner, Result

from insula import errors
from insula.cli import workloads
from tests.unit.client.scripted import Script, serving_on_a_thread
from tests.unit.client.test_clients import DONE, FAILED, RUNNING

app = typer.Typer()
app.command()(workloads.submit)
app.command()(workloads.result)


class Shell:
    """Runs commands against the scripted server."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={"INSULA_URL": self._url})


@pytest.fixture
def shell(script: Script) -> Iterator[Shell]:
    with serving_on_a_thread(script) as url:
        yield Shell(url)


def test_submit_prints_the_id_and_nothing_else(shell: Shell, script: Script) -> None:
    done = shell("submit", "a", "--json", '{"x": 1.0}')
    assert (done.exit_code, done.stdout, done.stderr) == (0, "id-1\n", "")
    assert script.submitted == [("a", "application/json", b'{"x": 1.0}')]


@pytest.mark.parametrize(
    ("arguments", "content_type", "body"),
    [
        (["--text", "hällo"], "text/plain; charset=utf-8", "hällo".encode()),
        (["--text", "a,b", "--content-type", "text/csv"], "text/csv", b"a,b"),
        (["--json", "1", "--content-type", "application/x"], "application/x", b"1"),
    ],
)
def test_each_kind_of_payload_has_its_content_type(
    shell: Shell, script: Script, arguments: list[str], content_type: str, body: bytes
) -> None:
    assert shell("submit", "a", *arguments).exit_code == 0
    assert script.submitted == [("a", content_type, body)]


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("x.json", "application/json"), ("x.png", "image/png"), ("x.unknown", "application/octet-stream"),
     ("x.json.gz", "application/octet-stream"), ("x", "application/octet-stream")],
)  # fmt: skip
def test_a_files_name_gives_its_content_type(
    shell: Shell, script: Script, tmp_path: Path, name: str, content_type: str
) -> None:
    (tmp_path / name).write_bytes(b"{}")
    assert shell("submit", "a", "--file", str(tmp_path / name)).exit_code == 0
    assert script.submitted == [("a", content_type, b"{}")]


def test_a_dash_reads_standard_input(shell: Shell, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "sys", SimpleNamespace(stdin=SimpleNamespace(buffer=io.BytesIO(b"piped"))))
    assert shell("submit", "a", "--file", "-").exit_code == 0
    assert script.submitted == [("a", "application/octet-stream", b"piped")]


def test_wait_prints_the_result_byte_for_byte(shell: Shell, script: Script) -> None:
    script.answers = [RUNNING, DONE]
    done = shell("submit", "a", "--text", "x", "--wait")
    assert (done.exit_code, done.stdout) == (0, '{"n": 9007199254740993, "x": 1.0}\n')
    assert done.stderr == "id-1 submitted\ncompleted\n"


def test_the_exit_code_of_result_depends_on_the_status(shell: Shell, script: Script) -> None:
    script.answers = [DONE]
    done = shell("result", "a", "id-1")
    assert (done.exit_code, done.stdout, done.stderr) == (0, '{"n": 9007199254740993, "x": 1.0}\n', "completed\n")
    script.answers = [FAILED]
    failed = shell("result", "a", "id-1")
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert failed.stderr == (
        "failed: HANDLER_ERROR: boom\nits traceback: `insula result a id-1 --admin ADDRESS`, or inside the cluster "
        "GET http://api-a:8888/id-1?traceback=1\n"
    )
    script.answers = [RUNNING]
    pending = shell("result", "a", "id-1")
    assert (pending.exit_code, pending.stdout, pending.stderr) == (3, "", "in_progress\n")
    script.answers = [RUNNING, DONE]
    assert shell("result", "a", "id-1", "--wait").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["submit", "a"], "exactly one of --json, --file and --text"),
        (["submit", "a", "--json", "1", "--text", "1"], "exactly one of"),
        (["submit", "a", "--json", "{"], "--json: is not valid JSON"),
        (["submit", "a", "--file", "/nowhere/x"], "--file: /nowhere/x: No such file or directory"),
        (["submit", "a", "--text", "x", "--url", "nonsense"], "url: must look like"),
    ],
)
def test_wrong_usage_exits_2_with_one_sentence(shell: Shell, arguments: list[str], problem: str) -> None:
    done = shell(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_refusal_exits_1_with_one_sentence(shell: Shell, script: Script) -> None:
    script.refusal = errors.ApiNotFound("a")
    done = shell("submit", "a", "--text", "x")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"insula: {script.refusal}\n")


def test_an_unreachable_url_exits_1(shell: Shell) -> None:
    done = shell("submit", "a", "--text", "x", "--url", "http://127.0.0.1:1")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "http://127.0.0.1:1 does not answer" in done.stderr
