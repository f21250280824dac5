"""Every port, socket, process and file of a running stack, tried by another user and by a handler."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from insula.local.storage import Keys
from tests.contract.isolation import walk
from tests.http_api import HttpApi
from tests.ordinary_user import ROOT, OrdinaryUser, ordinary_user
from tests.processes import command_line, environment
from tests.stack import Stack, running_stack

PROJECT = Path("tests", "projects", "isolation")
ENDED = ("FileNotFoundError", "ProcessLookupError")
"""What a process answers that has ended meanwhile."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="root alone sees what all processes open, and can be another user"),
]


@dataclass(frozen=True)
class Walked:
    """A stack, who may use a copy of this project, and what root sees of the stack."""

    stack: Stack
    user: OrdinaryUser
    pids: list[int]
    ports: set[tuple[str, int]]
    sockets: set[str]

    def tries(self) -> dict[str, Any]:
        """Everything that an intruder tries."""
        data = str(self.stack.info["data"])
        return {"pids": self.pids, "ports": sorted(self.ports), "sockets": sorted(self.sockets), "data": data}

    def open_ports(self) -> set[tuple[str, int]]:
        """The four addresses that anybody may use."""
        urls = [self.stack.public, self.stack.internal, self.stack.s3_env["AWS_ENDPOINT_URL"]]
        parts = map(urlsplit, [*urls, self.stack.info["metrics"]["results"]])
        return {(str(part.hostname), int(part.port or 0)) for part in parts}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["ordinary", "root"])
async def walked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Walked]:
    async with AsyncExitStack() as ending:
        user = ending.enter_context(ordinary_user())
        is_root = request.param == "root"
        data = tmp_path_factory.mktemp("stack") / "data" if is_root else user.folder("data")
        project = (ROOT if is_root else user.root) / PROJECT
        stack = await ending.enter_async_context(running_stack([project], data=data, user=None if is_root else user))
        pids = walk.everyone(stack.pid)
        yield Walked(stack, user, pids, walk.tcp_listeners(pids), walk.unix_listeners(pids))


def test_the_stack_listens_on_four_tcp_addresses(walked: Walked) -> None:
    """The public and the in-cluster listener, S3 for handlers, and metrics; nothing is abstract."""
    assert walked.ports == walked.open_ports()
    assert {Path(path).name for path in walked.sockets} >= {"valkey.sock", "s3.sock", "filer.sock", "submit-admin.sock"}
    assert [path for path in walked.sockets if path.startswith("@")] == []


def test_another_user_reaches_the_four_addresses_and_nothing_else(walked: Walked) -> None:
    """No socket, no process, no file."""
    found = walk.try_as(walk.STRANGER, walked.user, **walked.tries())
    assert set(found["ports"].values()) == {"connected"}
    assert set(found["sockets"].values()) <= {"PermissionError", "FileNotFoundError"}
    assert set(found["processes"].values()) <= {"PermissionError", *ENDED}
    assert set(found["signals"].values()) <= {"PermissionError", *ENDED}
    assert found["files"] == []


def test_no_command_line_and_no_environment_holds_a_secret(walked: Walked) -> None:
    """A handler's environment holds the keys that are meant for handlers, and so does its worker's."""
    keys = Keys.parse((Path(walked.stack.info["data"]) / "keys.json").read_text())
    ours = [keys.secret_key, keys.token_key]
    lines = [command_line(pid) for pid in walked.pids]
    assert [line for line in lines for secret in [*ours, keys.handlers_secret_key] if secret in line] == []
    environments = {pid: b"\0".join(environment(pid)).decode() for pid in walked.pids}
    assert any(environments.values())
    assert [lines[walked.pids.index(pid)] for pid, text in environments.items() for key in ours if key in text] == []


def test_the_same_user_cannot_read_a_services_environment(walked: Walked) -> None:
    """As a handler that is not isolated could try: PR_SET_DUMPABLE is 0."""
    services = [pid for pid in walked.pids if re.search(r"-m insula(_\w+|\.local) ", command_line(pid))]
    assert len(services) >= 4
    if walked.stack.info["data"].startswith(str(walked.user.home)):
        found = walk.try_as(walked.user.uid, walked.user, **walked.tries() | {"pids": services})
        assert "PermissionError" in found["processes"].values()
        assert set(found["processes"].values()) <= {"PermissionError", *ENDED}


def test_a_handler_reaches_the_four_addresses_and_nothing_else(walked: Walked) -> None:
    """It is a process of the stack's own user; what it sees of the data directory is its project."""
    tries = walked.tries()
    payload = "\n".join([*(f"{name} = {value!r}" for name, value in tries.items()), walk.TRY_ALL])
    found = run(walked.stack, payload)
    assert set(found["ports"].values()) == {"connected"}
    assert set(found["sockets"].values()) == {"FileNotFoundError"}
    assert {result for name, result in found["processes"].items() if name.split("/")[0] not in ("1", "2")} <= {
        "FileNotFoundError"
    }
    project = Path(run(walked.stack, "import os; found = os.getcwd()"))
    assert [path for path in found["files"] if not Path(path).is_relative_to(project)] == []


def run(stack: Stack, code: str) -> Any:
    """What the code leaves in `found` when a handler runs it."""
    answer = HttpApi(f"{stack.public}/attacker").run(json.dumps(code).encode(), "application/json")
    assert answer["status"] == "completed", answer
    return answer["result"]["found"]
