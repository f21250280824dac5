"""Deploying to a running stack: a new API with `insula deploy`, and each saved change with `insula up --watch`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from insula.rpc.admin_client import AdminClient
from tests.http_api import HttpApi
from tests.stack import Stack, running_stack
from tests.waiting import until

HANDLER = "class Handler:\n    def handle_async(self, payload):\n        return {{'version': {}}}\n"
ENTRY = "- {{name: {}, kind: AsyncAPI, handler: {{type: python, path: handler.py}}}}\n"


CALLER = """
import time
import requests

class Handler:
    def handle_async(self, payload):
        url = f"http://api-{payload['callee']}:8888/"
        id = requests.post(url, json=payload, timeout=10).json()["id"]
        while (answer := requests.get(url + id, timeout=10).json())["status"] not in ("completed", "failed"):
            time.sleep(0.02)
        return answer
"""


def write(folder: Path, *names: str, version: object = 1) -> Path:
    """Write a project of these APIs."""
    folder.mkdir(exist_ok=True)
    save(folder / "cortex.yaml", "".join(ENTRY.format(name) for name in names))
    save(folder / "handler.py", HANDLER.format(version))
    return folder


def save(path: Path, text: str) -> None:
    """Replace the file by a rename, as editors do, so that nobody reads half of it."""
    path.with_name(f".{path.name}").write_text(text)
    path.with_name(f".{path.name}").rename(path)


def deploy(folder: Path, admin: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insula.cli.main", "deploy", str(folder), "--admin", admin]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def version_of(url: str) -> object:
    return HttpApi(url).run(b"{}", "application/json")["result"]["version"]


@pytest.mark.slow
async def test_a_new_api_is_served_and_other_handlers_reach_it_and_it_survives_a_restart(tmp_path: Path) -> None:
    """The environment names an HTTP proxy that does not exist. Calls inside the stack must not use it."""
    caller, late = write(tmp_path / "caller", "caller"), write(tmp_path / "late", "late")
    (caller / "handler.py").write_text(CALLER)
    for project in (caller, late):
        save(project / "cortex.yaml", (project / "cortex.yaml").read_text().replace("}}", "}, compute: {cpu: 1}}"))
    printed = tmp_path / "stderr"
    with printed.open("wb") as stderr:
        unreachable = "http://127.0.0.1:1"
        async with running_stack(
            [caller],
            data=tmp_path / "data",
            stderr=stderr,
            HTTP_PROXY=unreachable,
            http_proxy=unreachable,
            INSULA_LOG_LEVEL="error",
        ) as stack:
            await late_is_served(stack, late, printed)
    assert "insula up: caller: compute.cpu has no effect on one machine\n" in printed.read_text()
    async with running_stack([caller], data=tmp_path / "data") as stack:
        assert [api["name"] for api in stack.info["apis"]] == ["caller", "late"]
        assert version_of(f"{stack.public}/late") == 1


async def late_is_served(stack: Stack, late: Path, printed: Path) -> None:
    """Deploy `late`, call it from outside and from the older handler, and deploy it twice more."""
    deployed = deploy(late, stack.info["admin"])
    assert (deployed.returncode, deployed.stdout) == (0, "late ready\n"), deployed.stderr
    assert deployed.stderr.startswith("insula deploy: late: compute.cpu has no effect on one machine\n")
    await until(lambda: ready_lines(printed, "late") == 1, within_s=30)
    assert version_of(f"{stack.public}/late") == 1
    chained = HttpApi(f"{stack.public}/caller").run(b'{"callee": "late"}', "application/json")
    assert chained["result"]["result"] == {"version": 1}
    write(late, "late", version=2)
    assert deploy(late, stack.info["admin"]).stdout == "late ready\n"
    await until(lambda: ready_lines(printed, "late") == 2, within_s=30)
    write(late, "late")
    assert deploy(late, stack.info["admin"]).stdout == "late ready\n"


def ready_lines(printed: Path, api: str) -> int:
    """Count the lines in which `insula up` reports that the API is ready."""
    words = (line.split()[:3] for line in printed.read_text().splitlines())
    return sum(found == [api, "ready", "after"] for found in words)


@pytest.mark.slow
async def test_watch_deploys_each_saved_change_and_keeps_the_old_version_on_an_error(tmp_path: Path) -> None:
    """The changes: a new version, a new API, and a second configuration in the same folder.

    A handler with an error is reported. It replaces nothing.
    """
    project = write(tmp_path / "project", "watched")
    beside = project / "beside.yaml"
    save(beside, ENTRY.format("beside"))
    nested = write(project / "nested", "nested")
    printed = tmp_path / "stderr"
    with printed.open("wb") as stderr:
        data = project / ".insula"  # the default: Redis and SeaweedFS write there all the time
        async with running_stack([project, beside, nested], data=data, options=["--watch"], stderr=stderr) as stack:
            url = f"{stack.public}/watched"
            assert version_of(url) == 1
            write(nested, "nested", version=2)
            await until(lambda: version_of(f"{stack.public}/nested") == 2, within_s=30)
            await until(lambda: ready_lines(printed, "nested") == 2)
            write(project, "watched", "another", version=2)
            await until(lambda: "another" in known(stack.info["admin"]), within_s=30)
            await until(lambda: version_of(url) == 2 == version_of(f"{stack.public}/another"), within_s=30)

            await until(lambda: version_of(f"{stack.public}/beside") == 2, within_s=30)
            save(beside, ENTRY.format("beside") + ENTRY.format("more"))
            await until(lambda: "more" in known(stack.info["admin"]), within_s=30)

            save(project / "handler.py", "class Handler:\n    def handle_async(self, headers): pass\n")
            await until(
                lambda: (
                    printed.read_bytes().count(b"not deployed, the previous version still serves: error in handler.py")
                    == 2
                )
            )
            assert version_of(url) == 2
            (project / "__pycache__").mkdir()
            (project / "__pycache__" / "handler.pyc").write_bytes(b"not a change by the user")

            (project / ".env").write_text("CHANGED=yes\n")
            write(project, "watched", version=3)
            await until(lambda: version_of(url) == 3, within_s=30)
    assert printed.read_bytes().count(b"not deployed") == 2, "once for each configuration of the folder"
    assert "watchfiles" not in printed.read_text()


def known(admin: str) -> list[str]:
    """Return the names of the APIs that are ready."""
    with AdminClient.at(admin) as client:
        return [api.name for api in client.apis() if api.state == "ready"]
