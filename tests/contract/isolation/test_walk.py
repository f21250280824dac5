"""Another user and a handler try to access every port, socket, process and file of a running stack."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from insula_local.seaweedfs.storage import Keys
from tests.contract.isolation import walk
from tests.contract.isolation.conftest import Isolated
from tests.processes import command_line, environment

ENDED = ("FileNotFoundError", "ProcessLookupError")
"""Errors of a try on a process that has ended."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the sockets of all processes and can become a user"),
]


@dataclass(frozen=True)
class Walked(Isolated):
    """The stack, with its processes, ports and sockets as root sees them."""

    pids: list[int]
    ports: set[tuple[str, int]]
    sockets: set[str]

    def tries(self) -> dict[str, Any]:
        """The variables of TRY_ALL: every port, socket and process, and the data directory."""
        return {
            "pids": self.pids,
            "ports": sorted(self.ports),
            "sockets": sorted(self.sockets),
            "data": str(self.data),
        }

    def open_ports(self) -> set[tuple[str, int]]:
        """The four addresses that every user may connect to."""
        urls = [self.stack.public, self.stack.internal, self.stack.s3_env["AWS_ENDPOINT_URL_S3"]]
        parts = map(urlsplit, [*urls, self.stack.info["metrics"]["results"]])
        return {(str(part.hostname), int(part.port or 0)) for part in parts}


@pytest.fixture
def walked(isolated: Isolated) -> Walked:
    pids = walk.everyone(isolated.stack.pid)
    found = pids, walk.tcp_listeners(pids), walk.unix_listeners(pids)
    return Walked(isolated.stack, isolated.user, isolated.is_root, *found)


def test_the_stack_listens_on_four_tcp_addresses(walked: Walked) -> None:
    """They are the public and the in-cluster listener, S3 for handlers, and metrics. No Unix socket is abstract."""
    assert walked.ports == walked.open_ports()
    assert {Path(path).name for path in walked.sockets} >= {"valkey.sock", "s3.sock", "filer.sock", "submit-admin.sock"}
    assert [path for path in walked.sockets if path.startswith("@")] == []


def test_a_user_without_a_home_has_the_cache_in_the_data_directory(walked: Walked) -> None:
    """A handler's home is its /tmp. It sees its environment, although the data directory is hidden."""
    data, homeless = walked.data, not walked.is_root
    assert (data / "cache" / "environments").exists() == homeless
    code = "import os, sys; found = [os.path.expanduser('~'), sys.prefix]"
    home, prefix = walked.run("attacker", code)
    assert (home == "/tmp", Path(prefix).is_relative_to(data / "cache")) == (homeless, homeless)


def test_another_user_reaches_the_four_addresses_and_nothing_else(walked: Walked) -> None:
    """It can access no socket, no process and no file."""
    found = walk.try_as(walk.STRANGER, walked.user, **walked.tries())
    assert set(found["ports"].values()) == {"connected"}
    assert set(found["sockets"].values()) <= {"PermissionError", "FileNotFoundError"}
    assert set(found["processes"].values()) <= {"PermissionError", *ENDED}
    assert set(found["signals"].values()) <= {"PermissionError", *ENDED}
    assert found["files"] == []


def test_no_command_line_and_no_environment_holds_a_secret(walked: Walked) -> None:
    """Exception: the variables of a handler and of its worker have the S3 keys of handlers."""
    keys = Keys.parse((walked.data / "keys.json").read_text())
    ours = [keys.secret_key, keys.token_key]
    lines = [command_line(pid) for pid in walked.pids]
    assert [line for line in lines for secret in [*ours, keys.handlers_secret_key] if secret in line] == []
    environments = {pid: b"\0".join(environment(pid)).decode() for pid in walked.pids}
    assert any(environments.values())
    assert [lines[walked.pids.index(pid)] for pid, text in environments.items() for key in ours if key in text] == []


def test_the_same_user_cannot_read_a_services_environment(walked: Walked) -> None:
    """A handler without isolation could try this. It fails because the services set PR_SET_DUMPABLE to 0."""
    services = [pid for pid in walked.pids if re.search(r"-m insula(_\w+|\.local) ", command_line(pid))]
    assert len(services) >= 4
    if not walked.is_root:
        found = walk.try_as(walked.user.uid, walked.user, **walked.tries() | {"pids": services})
        assert "PermissionError" in found["processes"].values()
        assert set(found["processes"].values()) <= {"PermissionError", *ENDED}


def test_a_handler_reaches_the_four_addresses_and_nothing_else(walked: Walked) -> None:
    """It runs as the stack's own user. In the data directory, it sees only its project and its environment."""
    found = walked.run("attacker", walk.TRY_ALL, **walked.tries())
    assert set(found["ports"].values()) == {"connected"}
    assert set(found["sockets"].values()) == {"FileNotFoundError"}
    assert {result for name, result in found["processes"].items() if name.split("/")[0] not in ("1", "2")} <= {
        "FileNotFoundError"
    }
    own = walked.run("attacker", "import os, sys; found = [os.getcwd(), sys.prefix]")
    assert [path for path in found["files"] if not any(Path(path).is_relative_to(each) for each in own)] == []
