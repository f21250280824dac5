"""A real Envoy with the shipped configuration, and a client that sends requests unchanged."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

from insula_envoy import EdgeAddresses, bundled_folder, render
from tests.addresses import free_port
from tests.contract.edge.scripted_services import ScriptedServices
from tests.processes import memory_mb

PAYLOAD_BYTES_MAX = 64 << 20


def envoy_binary() -> Path:
    spec = find_spec("envoy")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "_bin" / "envoy"


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


@dataclass(frozen=True)
class Reply:
    """An answer. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, object]:
        """Return the body of an error. Check that it has the shape of all errors."""
        assert self.headers["content-type"] == "application/json"
        error: dict[str, object] = json.loads(self.body)
        assert set(error) == {"code", "message", "details"}
        assert isinstance(error["code"], int)
        assert isinstance(error["message"], str)
        assert error["message"]
        assert isinstance(error["details"], list)
        assert not [name for name in self.headers if name.startswith("grpc-")]
        return error


@dataclass(frozen=True)
class Listener:
    """One of the two ports of the edge."""

    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def call(
        self, method: str, target: str, body: bytes | Iterable[bytes] = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send one request. The path is sent unchanged. Only Host and a header for the length are added."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            # The edge may answer and close before it has read the whole body.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body or None, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def post(self, target: str, body: bytes | Iterable[bytes] = b"{}", **headers: str) -> Reply:
        """Send a POST. Keyword arguments become headers. The default of content_type is application/json."""
        named = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return self.call("POST", target, body, named)

    def get(self, target: str, **headers: str) -> Reply:
        return self.call("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})


class RunningEdge:
    """Envoy as a child process in front of the scripted services."""

    def __init__(
        self,
        services: ScriptedServices,
        folder: Path,
        source: Path | None = None,
        *,
        cors_origins: Sequence[str] = ("*",),
        address_requests_per_s: int = 0,
        http: bool = True,
        more: Sequence[ScriptedServices] = (),
    ) -> None:
        """Start Envoy with its files in `folder`. `source` holds another configuration than the shipped one.

        With `http`, requests of HTTP reach the services over HTTP/1.1, otherwise over gRPC.
        `more` are further processes of the same services.
        """
        processes = (services, *more)
        public, internal, self.admin_port = free_ports(3)
        self.clusters = {name: f"{name}_http" if http else name for name in ("submit", "results")}
        self.public, self.internal = Listener(public), Listener(internal)
        self.configuration = folder / "envoy.yaml"
        self.addresses = EdgeAddresses(
            public_address="127.0.0.1",
            public_port=public,
            internal_address="127.0.0.1",
            internal_port=internal,
            submit=[f"127.0.0.1:{each.submit_server.port}" for each in processes],
            results=[f"127.0.0.1:{each.results_server.port}" for each in processes],
            submit_http=[f"unix:{each.submit_server.http_socket}" for each in processes if http],
            results_http=[f"unix:{each.results_server.http_socket}" for each in processes if http],
            admin=f"127.0.0.1:{self.admin_port}",
            payload_bytes_max=PAYLOAD_BYTES_MAX,
            folder=source or bundled_folder(),
            cors_origins=cors_origins,
            address_requests_per_s=address_requests_per_s,
        )
        self.configuration.write_text(render(self.addresses), encoding="utf-8")
        self.log = folder / "envoy.log"
        command = [str(envoy_binary()), "-c", str(self.configuration), "--disable-hot-restart", "--concurrency", "2"]
        # The node's name shows at the admin port that the process is ours.
        command += ["--service-node", str(folder), "--log-level", "warning", "--log-path", str(self.log)]
        self.process = subprocess.Popen(command)
        self._await_ready(str(folder))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)

    def statistic(self, name: str) -> int:
        """Return the value of one counter or gauge of Envoy."""
        return int(self._admin(f"/stats?filter=^{name}$").partition(":")[2])

    def reset_peak_memory(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")

    def peak_memory_mb(self) -> float:
        """Return Envoy's largest resident set size so far."""
        return memory_mb(self.process.pid, "VmHWM")

    def _admin(self, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5) as answer:
            return str(answer.read(), "utf-8")

    def _await_ready(self, node: str) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            try:
                self._admin("/ready")
            except OSError:
                continue
            info = json.loads(self._admin("/server_info"))
            assert info["command_line_options"]["service_node"] == node, "another Envoy has our port"
            return
        raise AssertionError("envoy was not ready within 20 s")
