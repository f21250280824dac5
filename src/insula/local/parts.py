"""What each part is: its command, its environment, its ports, and when it counts as ready."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from insula.local import hosts, ports, probes, storage
from insula.local.datadir import DataDirectory
from insula.local.plan import Plan
from insula.local.settings import INTERNAL_PORT, Settings
from insula.local.supervise import Part, Probe

ROLLOUT_TASK: Final = "rollout.json"
FOLLOW_TASK: Final = "follow.json"
"""What the rollout is told at the start, and when something was deployed since: only to follow it."""
WORKER_GRACE_S: Final = 5
"""How long a worker that is stopped lets its handler finish; what it cannot finish it gives back."""
WORKER_STOP_S: Final = 6.0
EDGE_STOP_S: Final = 0.7
"""Together with what the services and the stores may take, less than the 10 s in which everything has to end."""
SOCKETS: Final = Path("/tmp")  # noqa: S108 - not our choice
_WEED_PORTS: Final = (
    "s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
    "filer.port", "filer.port.grpc", "admin.port",
)  # fmt: skip
FIXED_PORTS: Final = (
    "valkey", "submit", "submit-admin", "results", "results-metrics", "envoy-admin", *_WEED_PORTS,
)  # fmt: skip


def worker_name(api: str) -> str:
    """Name of an API's worker, the same in every run: it takes its predecessor's claims up at once."""
    return f"{api}-0"


def port_of(api: str) -> str:
    """Name of the port of an API's worker; no fixed port's, and no other API's, is the same."""
    return f"worker/{api}"


def metrics_port_of(api: str) -> str:
    """Name of the port where an API's worker serves /metrics."""
    return f"worker/{api}/metrics"


def worker_part(api: str) -> str:
    """Name of the part that is the API's worker."""
    return f"worker {api}"


def port_names(apis: Iterable[str]) -> list[str]:
    """Every port the stack listens on, other than the public one and 8888."""
    return [*FIXED_PORTS, *(name for api in apis for name in (port_of(api), metrics_port_of(api)))]


@dataclass(frozen=True)
class Parts:
    """Makes the parts of one stack."""

    plan: Plan
    data: DataDirectory
    ports: Mapping[str, int]

    @property
    def settings(self) -> Settings:
        """What the user asked for."""
        return self.plan.settings

    @property
    def names(self) -> list[str]:
        """The APIs that have a worker: those of the plan, and what was deployed since."""
        return [
            name.removeprefix(port_of(""))
            for name in self.ports
            if name.startswith(port_of("")) and name.count("/") == 1
        ]

    @property
    def redis_url(self) -> str:
        """Ours, or the user's own."""
        return self.settings.redis_url or f"redis://{self.address('valkey')}/0"

    @property
    def public_url(self) -> str:
        """Where callers on this machine reach the edge."""
        address = self.settings.public_address
        return f"http://{'127.0.0.1' if address == '0.0.0.0' else address}:{self.settings.public_port}"  # noqa: S104

    @property
    def internal_url(self) -> str:
        """Where handlers reach the edge."""
        return f"http://{self.settings.internal_address}:{INTERNAL_PORT}"

    @property
    def s3_endpoint(self) -> str:
        """Where S3 answers."""
        return f"http://{self.address('s3.port')}"

    @property
    def handlers_s3(self) -> dict[str, str]:
        """The AWS_* variables that handlers get."""
        keys = self.data.keys
        return storage.client_environment(self.s3_endpoint, keys.handlers_access_key, keys.handlers_secret_key)

    def metrics_url(self, port: str) -> str:
        """Where Prometheus reads."""
        return f"http://{self.address(port)}/metrics"

    def with_api(self, api: str) -> Parts:
        """The same stack with one API more: ports for its worker, and its short name for the handlers of all."""
        names = [name for name in (port_of(api), metrics_port_of(api)) if name not in self.ports]
        if not names:
            return self
        known = {**self.ports, **ports.choose(names, self.data.remembered_ports(), self.ports.values())}
        self.data.remember_ports(known)
        self.data.append("hosts", hosts.line(self.settings.internal_address, api))
        return replace(self, ports=known)

    def address(self, name: str) -> str:
        """host:port of one of our servers."""
        return f"{self.settings.internal_address}:{self.ports[name]}"

    def valkey(self) -> Part:
        """Redis, every write on disk before it is answered (I1)."""
        host, port = self.settings.internal_address, self.ports["valkey"]
        flags = {
            "bind": host,
            "port": str(port),
            "protected-mode": "yes",  # no password, so nobody but this machine
            "dir": str(self.data.valkey),
            "appendonly": "yes",
            "appendfsync": "always",
            "hash-max-listpack-entries": "32",  # the fields of a live record; buckets of ended ones may be large
            "hash-max-listpack-value": "8192",  # a record with its inline result stays compact: a third less memory
            "save": "",
            "daemonize": "no",
            "databases": "1",
        }
        command = (
            str(self.plan.programs.valkey),
            *(word for name, value in flags.items() for word in (f"--{name}", value)),
        )
        return replace(self._part("valkey", command, {}, probes.redis(host, port)), keep=(self.data.lock,))

    def seaweedfs(self) -> Part:
        """S3 with its master, volume server, filer and admin in one process, each on a port of our choice."""
        host = self.settings.internal_address
        self.data.write_filer_store(storage.FILER_STORE)
        flags = {name: str(self.ports[name]) for name in _WEED_PORTS}
        flags |= {
            "ip": host,
            "ip.bind": host,
            "dir": str(self.data.seaweedfs),
            "admin.port.grpc": str(self.ports["admin.port"] + ports.GRPC_OFFSET),
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "s3.config": str(self.data.write("s3-identities.json", storage.identities(self.data.keys))),
            "s3.allowedOrigins": self.s3_endpoint,  # no web page may read objects, as anybody may who does not sign
            "s3.localSocket": "s3.sock",  # in its working directory: the path of a socket may have 107 bytes
            "filer.localSocket": "filer.sock",
            "admin.ui": "false",
            "webdav": "false",
            "master.telemetry": "false",  # it would report to its makers
            "volume.id": "insula",
            "volume.preStopSeconds": "0",
        }
        command = (
            str(self.plan.programs.weed),
            "-logtostderr=true",
            "mini",
            *(f"-{name}={value}" for name, value in flags.items()),
        )
        ready = probes.http(host, self.ports["s3.port"], "/healthz")
        part = self._part("seaweedfs", command, storage.server_environment(self.data.keys), ready)
        return replace(part, directory=self.data.seaweedfs, keep=(self.data.lock,))

    def sweep(self) -> None:
        """Remove what SeaweedFS leaves in /tmp: Unix sockets named after its ports, for which it has no flag."""
        for port in (*(self.ports[name] for name in _WEED_PORTS), self.ports["admin.port"] + ports.GRPC_OFFSET):
            for path in SOCKETS.glob(f"seaweedfs-*-{port}.sock"):
                path.unlink(missing_ok=True)

    def results(self) -> Part:
        """ResultsService."""
        listens = {
            "INSULA_LISTEN": self.address("results"),
            "INSULA_METRICS_LISTEN": self.address("results-metrics"),
        }
        return self._service("results", listens, self.ports["results"])

    def submit(self, take_line: Callable[[str], None]) -> Part:
        """SubmitService, and ApiService on the admin address; `take_line` gets what it tells of deployments."""
        listens = {"INSULA_LISTEN": self.address("submit"), "INSULA_ADMIN_LISTEN": self.address("submit-admin")}
        part = self._service("submit", listens, self.ports["submit"], self.ports["submit-admin"])
        return replace(part, take_line=take_line)

    def worker(self, api: str, take_line: Callable[[str], None]) -> Part:
        """The worker of one API; `take_line` gets what the handler prints."""
        name = worker_name(api)
        variables = {
            "INSULA_API": api,
            "INSULA_WORKER": name,
            "INSULA_LISTEN": self.address(port_of(api)),
            "INSULA_METRICS_LISTEN": self.address(metrics_port_of(api)),
            "INSULA_HOSTS_FILE": str(self.data.run / "hosts"),
            "INSULA_SCRATCH": str(self.data.run / name),
            "INSULA_GRACE_S": str(WORKER_GRACE_S),
            **{f"INSULA_HANDLER_{variable}": value for variable, value in self.handlers_s3.items()},
        }
        command = _python("insula_worker")
        environment = self._stores() | variables
        part = self._part(worker_part(api), command, environment, probes.running())
        return replace(part, stop_s=WORKER_STOP_S, take_line=take_line, announced=False)

    def rollout(self, task: str, take_line: Callable[[str], None]) -> Part:
        """The child that prepares the stores, deploys and follows, as the task says; `take_line` gets its events."""
        command = (*_python("insula.local.rollout"), str(self.data.run / task))
        part = self._part("rollout", command, self._stores(), probes.running())
        return replace(part, once=True, take_line=take_line, announced=False)

    def envoy(self) -> Part:
        """The edge: the public listener, and the one of handlers that call other APIs."""
        from insula_envoy import EdgeAddresses, render

        host, given = self.settings.internal_address, self.ports
        edge = EdgeAddresses(
            public_address=self.settings.public_address,
            public_port=self.settings.public_port,
            internal_address=host,
            internal_port=INTERNAL_PORT,
            submit_address=host,
            submit_port=given["submit"],
            results_address=host,
            results_port=given["results"],
            admin_address=host,
            admin_port=given["envoy-admin"],
            payload_bytes_max=self.plan.payload_bytes_max,
        )
        configuration = self.data.write("envoy.yaml", render(edge))
        flags = ("--disable-hot-restart", "--concurrency", "2", "--log-level", "warning")
        command = (str(self.plan.programs.envoy), "-c", str(configuration), *flags)
        part = self._part("envoy", command, {}, probes.http(host, given["envoy-admin"], "/ready"))
        return replace(part, stop_s=EDGE_STOP_S)

    def _service(self, name: str, variables: dict[str, str], *own_ports: int) -> Part:
        ready = probes.listening(self.settings.internal_address, *own_ports)
        return self._part(name, _python(f"insula_{name}"), self._stores() | variables, ready)

    def _stores(self) -> dict[str, str]:
        """What every service of ours is told."""
        keys = self.data.keys
        return {
            "INSULA_REDIS_URL": self.redis_url,
            "INSULA_S3_BUCKET": storage.BUCKET,
            **storage.client_environment(self.s3_endpoint, keys.access_key, keys.secret_key),
            # Nor may the user's own AWS profile reach into it.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "PYTHONUNBUFFERED": "1",
        }

    def _inherited(self) -> dict[str, str]:
        """The user's environment, without what leads to an AWS account, or around by a proxy to our own ports."""
        inherited = {name: value for name, value in self.settings.environment.items() if not name.startswith("AWS_")}
        direct = [self.settings.internal_address, "127.0.0.1", "localhost", *(f"api-{api}" for api in self.names)]
        for name in ("NO_PROXY", "no_proxy"):
            inherited[name] = ",".join(filter(None, [inherited.get(name), *direct]))
        return inherited

    def _part(self, name: str, command: Iterable[str], variables: dict[str, str], probe: Probe) -> Part:
        return Part(
            name=name,
            command=tuple(command),
            environment=self._inherited() | variables,
            directory=self.data.path,
            log=self.data.logs / f"{name.replace(' ', '-')}.log",
            probe=probe,
        )


def _python(module: str) -> tuple[str, ...]:
    """-P: a file of the user's that is called like one of our imports must not be taken for it."""
    return (sys.executable, "-P", "-m", module)
