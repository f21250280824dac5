"""The parts of a stack: for each its command, its environment, its socket and its readiness probe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from insula.settings import ADMIN_TOKEN, REDIS_CA_FILE, REDIS_PASSWORD, REDIS_URL, REDIS_USER, S3_ADDRESSING
from insula_local import valkey
from insula_local.datadir import DataDirectory
from insula_local.machine import hosts, ports
from insula_local.machine.enclosure import enclosed
from insula_local.plan import Plan, WorkerId
from insula_local.scrapes import Scrapes
from insula_local.seaweedfs import storage
from insula_local.settings import INTERNAL_PORT, Settings
from insula_local.supervision import probes
from insula_local.supervision.supervise import Part, Probe

WORKER_GRACE_S: Final = 5
"""How long a stopping worker waits for its handler. Then it returns unfinished workloads to the queue."""
WORKER_STOP_S: Final = 6.0
EDGE_STOP_S: Final = 0.7
"""Limit for the stop of Envoy. A stop takes less than 10 s in all: WORKER_STOP_S for the workers, then 1.5 s for Envoy
and the services, then 1.5 s for the stores."""
ENVOY_THREADS: Final = 2
"""Threads of Envoy for each process of submit and results. A request takes more CPU time in Envoy than in a service."""
SOCKETS: Final = Path("/tmp")  # noqa: S108 - not our choice
PORTS: Final = ("s3.port", "metrics.port")
"""Names of the TCP ports besides the public port and 8888: S3 for handlers, and metrics. Parts use Unix sockets."""
ENVOY_ALLOCATOR: Final = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}
"""Reserves the kernel's rseq for Envoy's allocator. glibc 2.35 and later uses rseq itself. Without rseq, the allocator
has a cache for each thread and never returns the memory of a peak of callers. Earlier glibcs ignore the tunable."""
_SEAWEEDFS_FLAGS: Final = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
    "s3.port", "s3.port.grpc", "admin.port",
)  # fmt: skip
SEAWEEDFS_PORTS: Final = tuple(f"seaweedfs/{flag}" for flag in _SEAWEEDFS_FLAGS)
"""Names of the TCP ports of SeaweedFS' servers. Used if the machine allows no network namespace."""
_OURS: Final = frozenset(
    name
    for variable in (ADMIN_TOKEN, REDIS_URL, REDIS_USER, REDIS_PASSWORD, REDIS_CA_FILE, S3_ADDRESSING)
    for name in (variable.name, f"{variable.name}_FILE")
) | {"INSULA_ADVERTISE", "INSULA_BAKED", "INSULA_SCALER_LISTEN"}
"""Variables of the user that no part inherits. Parts get the URL of Redis, with user, password and CA, in a file."""


def metrics_socket(worker: str) -> str:
    """Return the name of the metrics socket of a worker. `worker` is the worker's short name."""
    return f"metrics.{worker}"


@dataclass(frozen=True)
class Parts:
    """Makes the parts of one stack.

    `enclosed` is whether SeaweedFS has its own network namespace. `ports` maps each name in PORTS to its
    port. If SeaweedFS has no namespace, it maps those in SEAWEEDFS_PORTS too. `names` lists the APIs that have a
    worker, from the plan or from a later deployment.
    """

    plan: Plan
    data: DataDirectory
    ports: Mapping[str, int]
    names: tuple[str, ...]
    enclosed: bool

    @property
    def settings(self) -> Settings:
        """The settings of `insula up`."""
        return self.plan.settings

    @property
    def redis_url(self) -> str:
        """The URL of our Valkey, or of the user's own Redis."""
        return self.settings.redis_url or f"unix://{quote(str(self.socket('valkey')))}"

    @property
    def redis_url_shown(self) -> str:
        """`redis_url` with *** in place of the password."""
        url = urlsplit(self.redis_url)
        if url.password is None:
            return self.redis_url
        return url._replace(netloc=url.netloc.replace(f":{url.password}@", ":***@")).geturl()

    @property
    def public_url(self) -> str:
        """The URL of Envoy's public listener for callers on this machine."""
        address = self.settings.public_address
        return f"http://{'127.0.0.1' if address == '0.0.0.0' else address}:{self.settings.public_port}"  # noqa: S104

    @property
    def internal_url(self) -> str:
        """The URL of Envoy's inner listener, where handlers call other APIs."""
        return f"http://{self.settings.internal_address}:{INTERNAL_PORT}"

    @property
    def s3_endpoint(self) -> str:
        """The S3 endpoint for handlers: a listener of Envoy. Services use the Unix socket of S3 instead."""
        return f"http://{self.settings.internal_address}:{self.ports['s3.port']}"

    @property
    def handlers_s3(self) -> dict[str, str]:
        """The AWS_* variables of handlers."""
        keys = self.data.keys
        identity = {"AWS_ACCESS_KEY_ID": keys.handlers_access_key, "AWS_SECRET_ACCESS_KEY": keys.handlers_secret_key}
        return storage.endpoint(self.s3_endpoint) | identity

    @property
    def metrics_address(self) -> tuple[str, int]:
        """The host and the port of the server of metrics, for Prometheus."""
        return self.settings.internal_address, self.ports["metrics.port"]

    def metrics_url(self, path: str) -> str:
        """Return the URL of a part's metrics. `path` is scrapes.RESULTS or a result of scrapes.worker_path."""
        host, port = self.metrics_address
        return f"http://{host}:{port}{path}"

    def scrapes(self) -> Scrapes:
        """Return the server of the metrics address."""
        return Scrapes(self.socket("results-metrics"), lambda worker: self.socket(metrics_socket(worker)))

    def with_api(self, api: str) -> Parts:
        """Return the same parts with one more API, and add `api-<name>` to the hosts file of all handlers."""
        if api in self.names:
            return self
        self.data.append("hosts", hosts.line(self.settings.internal_address, api))
        return replace(self, names=(*self.names, api))

    def socket(self, name: str) -> Path:
        """Return the path of the Unix socket with this name."""
        return self.data.sockets / f"{name}.sock"

    def address(self, name: str) -> str:
        """Return the gRPC address, `unix://PATH`, of the Unix socket with this name."""
        return f"unix://{self.socket(name)}"

    def valkey(self) -> Part:
        """Return the part Redis: a Valkey that replies only after a write is on disk (guarantee I1)."""
        socket = self.socket("valkey")
        listening = {"port": "0", "unixsocket": str(socket), "unixsocketperm": "700", "dir": "."}
        command = (str(self.plan.programs.valkey), *valkey.flags(valkey.SETTINGS | listening))
        return replace(
            self._part("valkey", command, self._appended(valkey.allocator()), probes.redis(socket)),
            directory=self.data.valkey,
        )

    def seaweedfs(self) -> Part:
        """Return the part S3: SeaweedFS in one process. If `enclosed`, it has its own network namespace."""
        data, bwrap = self.data, self.plan.programs.bwrap
        data.configure_seaweedfs("filer.toml", storage.FILER_STORE)
        data.configure_seaweedfs("security.toml", storage.security(data.keys))
        data.configure_seaweedfs("identities.json", storage.identities(data.keys))
        host = "127.0.0.1" if self.enclosed else self.settings.internal_address
        flags = {
            "ip": host,
            "ip.bind": host,
            "dir": ".",  # not an absolute path, in which a comma would be a separator
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "s3.config": "identities.json",
            "s3.localSocket": str(self.socket("s3")),
            "filer.localSocket": str(self.socket("filer")),
            "admin.ui": "false",
            "webdav": "false",
            "master.telemetry": "false",  # else it sends usage data to its makers
            "volume.id": "insula",
            "volume.preStopSeconds": "0",
            **self._seaweedfs_ports(),
        }
        command: Sequence[str] = (
            str(self.plan.programs.weed),
            "-logtostderr=true",
            "mini",
            *(f"-{name}={value}" for name, value in flags.items()),
        )
        if self.enclosed and bwrap is not None:
            command = enclosed(bwrap, command, data.seaweedfs, data.seaweedfs, data.sockets)
        ready = probes.http(self.socket("s3"), "/healthz")
        return replace(self._part("seaweedfs", command, storage.MEMORY, ready), directory=data.seaweedfs)

    def _seaweedfs_ports(self) -> dict[str, str]:
        """Return the flags for TCP ports; none in a network namespace, where SeaweedFS uses its default ports."""
        if self.enclosed:
            return {}
        chosen = {flag: str(self.ports[name]) for flag, name in zip(_SEAWEEDFS_FLAGS, SEAWEEDFS_PORTS, strict=True)}
        admin_grpc = self.ports["seaweedfs/admin.port"] + ports.GRPC_OFFSET
        return chosen | {"admin.port.grpc": str(admin_grpc), "s3.allowedOrigins": self.s3_endpoint}

    def sweep(self) -> None:
        """Remove the sockets that SeaweedFS leaves in /tmp. It has no flag for another folder."""
        for port in self._seaweedfs_ports().values():
            for path in SOCKETS.glob(f"seaweedfs-*-{port}.sock"):
                path.unlink(missing_ok=True)

    def results(self, name: str) -> Part:
        """Return one process of results as a part. All have the same metrics, so Prometheus reads only the first."""
        return self._service("results", name, INSULA_METRICS_LISTEN=f"{name}-metrics")

    def submit(self, name: str, take_log_line: Callable[[str], None]) -> Part:
        """Return one process of submit as the part `name`. Commands such as `insula deploy` call the part `submit`.

        `take_log_line` is called with each line of the process' stderr.
        """
        part = self._service("submit", name, INSULA_ADMIN_LISTEN=f"{name}-admin")
        level = part.environment.get("INSULA_LOG_LEVEL", "info")
        # Deployments are logged at this level.
        environment = {**part.environment, "INSULA_LOG_LEVEL": level if level.lower() == "debug" else "info"}
        return replace(part, environment=environment, take_log_line=take_log_line)

    def worker(self, worker: WorkerId, take_line: Callable[[str], None]) -> Part:
        """Return a worker as a part. `take_line` is called with each line of the worker's stdout."""
        variables = {
            "INSULA_API": worker.api,
            "INSULA_WORKER": worker.name,
            "INSULA_LISTEN": self.address(f"worker.{worker.short}"),
            "INSULA_METRICS_LISTEN": self.address(metrics_socket(worker.short)),
            "INSULA_HOSTS_FILE": str(self.data.run / "hosts"),
            "INSULA_SCRATCH": str(self.data.run / worker.name),
            "INSULA_HIDDEN": json.dumps([str(self.data.path), str(self.data.sockets)]),
            "INSULA_ISOLATION": self.settings.isolation,
            "INSULA_GRACE_S": str(WORKER_GRACE_S),
            **{f"INSULA_HANDLER_{variable}": value for variable, value in self.handlers_s3.items()},
            **self.plan.devices.get(worker, {}),
        }
        command = (*_python("insula_worker"), worker.short)  # its name is there for `ps`
        environment = self._stores() | variables
        part = self._part(worker.part, command, environment, probes.running())
        return replace(part, stop_s=WORKER_STOP_S, take_line=take_line, announced=False)

    def envoy(self) -> Part:
        """Return the part Envoy: the public listener, the inner one, and one that forwards handlers' calls to S3."""
        from insula_envoy import EdgeAddresses, render, render_s3

        host, admin = self.settings.internal_address, self.socket("envoy-admin")
        submit, results = self.plan.parts_of("submit"), self.plan.parts_of("results")
        edge = EdgeAddresses(
            public_address=self.settings.public_address,
            public_port=self.settings.public_port,
            internal_address=host,
            internal_port=INTERNAL_PORT,
            submit=[self.address(name) for name in submit],
            results=[self.address(name) for name in results],
            submit_http=[self.address(f"{name}-http") for name in submit],
            results_http=[self.address(f"{name}-http") for name in results],
            admin=self.address("envoy-admin"),
            payload_bytes_max=self.plan.payload_bytes_max,
            cors_origins=self.settings.cors_origins,
            address_requests_per_s=self.settings.address_requests_per_s,
        )
        configuration = self.data.write("envoy.yaml", render(edge))
        s3 = render_s3(host, self.ports["s3.port"], self.address("s3"))
        threads = str(ENVOY_THREADS * self.plan.processes)
        flags = ("--disable-hot-restart", "--concurrency", threads, "--log-level", "warning", "--config-yaml", s3)
        command = (str(self.plan.programs.envoy), "-c", str(configuration), *flags)
        return replace(
            self._part("envoy", command, self._appended(ENVOY_ALLOCATOR), probes.http(admin, "/ready")),
            stop_s=EDGE_STOP_S,
        )

    def _appended(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return `variables`. If the user has set one of them, the user's value and a colon come before ours."""
        given = self.settings.environment
        return {name: ":".join(filter(None, [given.get(name), value])) for name, value in variables.items()}

    def _service(self, service: str, name: str, **listens: str) -> Part:
        """Return one process of a service as the part `name`. `listens` maps variables to names of further sockets."""
        http, listens = self.socket(f"{name}-http"), {"INSULA_LISTEN": name, **listens}
        sockets = [http, *(self.socket(socket) for socket in listens.values())]
        variables = {variable: self.address(socket) for variable, socket in listens.items()}
        variables["INSULA_HTTP_SOCKET"] = str(http)
        return self._part(name, _python(f"insula_{service}"), self._stores() | variables, probes.listening(*sockets))

    def _stores(self) -> dict[str, str]:
        """Return the variables with the addresses of Redis and S3. Secrets are in files that only the user can read."""
        keys, data = self.data.keys, self.data
        credentials = storage.credentials(keys.access_key, keys.secret_key)
        return {
            "INSULA_REDIS_URL_FILE": str(data.write("redis-url", self.redis_url)),
            "INSULA_S3_BUCKET": storage.BUCKET,
            "INSULA_S3_SOCKET": str(self.socket("s3")),
            "INSULA_STORES_FOLDER": str(data.path),
            **storage.endpoint(self.s3_endpoint),
            "AWS_SHARED_CREDENTIALS_FILE": str(data.write_plain("s3-credentials", credentials)),
            "AWS_CONFIG_FILE": os.devnull,  # the user's own profile must have no effect
            "PYTHONUNBUFFERED": "1",
        }

    def _inherited(self) -> dict[str, str]:
        """Return the user's environment without AWS_* and the names in _OURS. NO_PROXY also has this stack's hosts."""
        given = self.settings.environment.items()
        inherited = {name: value for name, value in given if not name.startswith("AWS_") and name not in _OURS}
        direct = [self.settings.internal_address, "127.0.0.1", "localhost", *(f"api-{api}" for api in self.names)]
        for name in ("NO_PROXY", "no_proxy"):
            inherited[name] = ",".join(filter(None, [inherited.get(name), *direct]))
        return inherited | {"INSULA_CACHE": str(self.settings.cache)}

    def _part(self, name: str, command: Iterable[str], variables: dict[str, str], probe: Probe) -> Part:
        return Part(
            name=name,
            command=tuple(command),
            environment=self._inherited() | variables,
            directory=self.data.path,
            log=self.data.logs / f"{name.replace(' ', '-')}.log",
            probe=probe,
            keep=(self.data.lock,),  # the next stack uses the same sockets, so it waits until this part has ended
        )


def _python(module: str) -> tuple[str, ...]:
    """Return the command that runs a module. With -P, no file of the user replaces it."""
    return (sys.executable, "-X", "utf8", "-P", "-m", module)
