"""Control characters from clients and handlers. Every command prints them escaped, so that none reaches a terminal.

One handler prints and raises the text that its caller sent. Another handler fails to start with such a text.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from insula.printing import visible
from tests.addresses import free_addresses
from tests.contract.local.test_refusals import write_project
from tests.http_api import HttpApi
from tests.waiting import until_blocking

CONFIG = """
- {name: echo, kind: AsyncAPI, handler: {type: python, path: handler.py}}
- {name: broken, kind: AsyncAPI, handler: {type: python, path: broken.py}}
"""
HANDLER = """
class Handler:
    def handle_async(self, payload):
        print(payload["text"])
        if payload.get("fail"):
            raise ValueError(payload["text"])
        return {"text": payload["text"]}
"""
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[38;5;77m\x9b2J\x7f\r\b\u202e\u2066[red] :smile: é"
BROKEN = f"raise ValueError({HOSTILE!r})\nclass Handler:\n    def handle_async(self): return {{}}\n"
SPELLED_OUT = re.compile(r"\\(x1b|u001b)\]0;owned\\(x07|u0007)\\(x1b|u001b)\[2J\\(x1b|u001b)\[38;5;77m")
PRINTED = HOSTILE.partition("\r")[0]
"""The part of HOSTILE before its first line break."""
OWN_STYLING = re.compile(r"\x1b\[(0|[0-9]|[0-9]{2}|[0-9];[0-9]{2})m|\x1b\[\?25[lh]|\x1b\[[12]?[AK]|\r")
"""The escape sequences that rich writes for colours and its spinner."""


class Screen:
    """A pseudo-terminal that keeps all bytes written to it."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self._held = bytearray()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 65536):
                self._held += data
        except OSError:  # the other side is closed
            pass

    @property
    def text(self) -> str:
        return self._held.decode()

    def close(self) -> str:
        """Wait until the last writer has ended. Return all text."""
        os.close(self.theirs)
        self._reading.join(60)
        os.close(self._ours)
        return self.text


@dataclass
class Session:
    """A stack whose output is a terminal, and the addresses that other commands need."""

    public: str
    admin: str
    project: Path
    screen: Screen

    def run(self, *words: str, piped: bool = False) -> str:
        """Run a command. Return what it prints on a terminal, or only its stdout if that is piped."""
        screen = Screen()
        command = [sys.executable, "-m", "insula.cli.main", *words]
        environment = os.environ | {"INSULA_ADMIN": self.admin, "INSULA_URL": self.public, "TERM": "xterm"}
        stdout = subprocess.PIPE if piped else screen.theirs
        done = subprocess.run(
            command, stdin=screen.theirs, stdout=stdout, stderr=screen.theirs, env=environment, check=False, timeout=120
        )
        shown = screen.close()
        return bytes(done.stdout).decode() if piped else shown.replace("\r\n", "\n")


@contextmanager
def up(project: Path, data: Path) -> Generator[Session]:
    port, address = free_addresses()
    where = ["--data", str(data), "--public-port", str(port), "--internal-address", address]
    screen = Screen()
    command = [sys.executable, "-m", "insula.cli.main", "up", str(project), *where]
    end = screen.theirs
    with subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=os.environ | {"TERM": "xterm"}) as process:
        try:
            until_blocking(lambda: "Up after" in screen.text or process.poll() is not None, within_s=280)
            info = json.loads((data / "run" / "stack.json").read_text())
            yield Session(info["public"], info["admin"], project, screen)
        finally:
            process.terminate()
            process.wait(120)
            screen.close()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("terminal")
    project = write_project(folder / "project", CONFIG, HANDLER)
    (project / "broken.py").write_text(BROKEN)
    with up(project, folder / "data") as running:
        yield running


def payload(**more: bool) -> str:
    return json.dumps({"text": HOSTILE, **more})


def check_harmless(shown: str, times: int = 1) -> None:
    """Check that the hostile text occurs escaped, at least `times` times, and that there is no control character."""
    assert visible(shown) == shown
    assert len(SPELLED_OUT.findall(shown)) >= times, shown
    assert "[red] :smile: " in shown


@pytest.mark.slow
def test_insula_up_escapes_the_text_of_handlers(session: Session) -> None:
    """The only escape sequences are its own, for colours and the spinner."""
    api = HttpApi(f"{session.public}/echo")
    api.run(payload().encode(), "application/json")
    assert api.run(payload(fail=True).encode(), "application/json")["status"] == "failed"
    until_blocking(lambda: "failed to process workload" in session.screen.text)
    shown = session.screen.text
    assert "\x1b[38;5;77m" not in shown
    assert f"Admin address {session.admin}" in shown
    assert re.search(r"Metrics http://\S+/results/metrics and http://\S+/workers/<api>/metrics", shown)
    assert re.search(r"\x1b\[31mERROR  \S+ \S+echo\S* failed to process workload", shown)
    assert "processing workload..." not in shown
    assert '"message"' not in shown
    check_harmless(OWN_STYLING.sub("", shown), times=4)


@pytest.mark.slow
def test_submit_and_result_escape_the_text_of_handlers(session: Session) -> None:
    """JSON does not escape C1, DEL and bidi controls, so the commands do. In a pipe, the bytes are the handler's."""
    check_harmless(session.run("submit", "echo", "--json", payload(), "--wait"))
    check_harmless(session.run("submit", "echo", "--json", payload(fail=True), "--wait"))
    id = session.run("submit", "echo", "--json", payload(), piped=True).strip()
    result = session.run("result", "echo", id, "--wait", piped=True)
    assert json.loads(result) == {"text": HOSTILE}
    assert "\u202e" in result
    failed = session.run("submit", "echo", "--json", payload(fail=True), piped=True).strip()
    check_harmless(session.run("result", "echo", failed, "--wait"))


@pytest.mark.slow
def test_get_and_deploy_escape_the_text_of_handlers(session: Session) -> None:
    check_harmless(OWN_STYLING.sub("", session.run("get")))
    check_harmless(OWN_STYLING.sub("", session.run("get", "broken")))
    check_harmless(session.run("get", "broken", "-o", "json"))
    check_harmless(session.run("deploy", str(session.project)))
    described = json.loads(session.run("get", "broken", "-o", "json", piped=True))
    assert PRINTED in described["reason"]


@pytest.mark.slow
def test_logs_escapes_the_text_of_handlers(session: Session) -> None:
    """In a pipe, the lines are the JSON that the worker wrote."""
    id = session.run("submit", "echo", "--json", payload(), piped=True).strip()
    session.run("result", "echo", id, "--wait")
    shown = session.run("logs", "echo", "--workload", id)
    assert "\x1b[38;5;77m" not in shown
    check_harmless(OWN_STYLING.sub("", shown))
    lines = session.run("logs", "echo", "--workload", id, piped=True).splitlines()
    assert HOSTILE in [json.loads(line)["message"] for line in lines]


@pytest.mark.slow
def test_errors_escape_the_arguments_that_they_name(session: Session) -> None:
    name = "\x1b[2Jowned"
    for words in (("get", name), ("submit", name, "--text", "a"), ("deploy", f"/{name}"), ("up", f"/{name}")):
        shown = session.run(*words)
        assert visible(shown) == shown
        assert "\\x1b[2Jowned" in shown
