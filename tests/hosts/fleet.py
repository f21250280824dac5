"""A fleet: every part of Insula on a host of its own, over TCP, found by DNS, without `insula up`."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from insula.access import service_acl, worker_acl
from insula.keys import ApiKeys
from insula.ledger.updates import changes
from insula_local import valkey
from insula_local.machine.binaries import Programs, find
from insula_local.seaweedfs import storage
from tests.hosts.network import Host, Network, Process
from tests.stack import status_of
from tests.waiting import until_blocking

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ENDED: Final = ("completed", "failed", "cancelled")
LEASE_S: Final = 9
"""Shorter than the default of 30, so that the tests need not wait for so long."""
START_S: Final = 120
PUBLIC, IN_CLUSTER, GRPC, ADMIN, REDIS, S3 = 8080, 8888, 9000, 8081, 6379, 8333
NAMESPACE: Final = "ml"
OWN_TMP: Final = 'exec 9<"$0"; mount -t tmpfs tmpfs /tmp; exec /proc/self/fd/9 "$@"'
"""SeaweedFS makes sockets in /tmp under fixed names, which another one may use. Its program may be in /tmp too."""


@dataclass(frozen=True)
class Secrets:
    """The passwords, keys and tokens of one fleet. `redis` is the administrator's password."""

    redis: str
    admin: str
    s3: storage.Keys

    @classmethod
    def new(cls) -> Secrets:
        return cls(secrets.token_urlsafe(20), secrets.token_urlsafe(20), storage.Keys.parse("{}"))

    def of_user(self, user: str) -> str:
        """Return the password of another user of Redis."""
        return f"{self.redis}-{user}"


class Fleet:
    """Starts the parts on hosts of `network`, and calls them."""

    def __init__(self, network: Network, folder: Path, apis: Sequence[str]) -> None:
        """`folder` gets the logs, and the data of the stores. Redis has a user for the workers of each of `apis`."""
        self.network: Final = network
        self._folder: Final = folder
        self._secrets: Final = Secrets.new()
        self._programs: Final[Programs] = find()
        rules = {f"worker-{api}": worker_acl(api) for api in apis}
        self._users = rules | {service: service_acl(service) for service in ("submit", "results")}
        self._names: dict[str, tuple[str, ...]] = {}
        self.processes: dict[str, Process] = {}
        self._dns = network.host("dns")
        self.redis_host, self.s3_host = network.host("redis"), network.host("s3")
        self.submit, self.results = network.host("submit"), network.host("results")
        self.edge, self.operator = network.host("edge"), network.host("operator")

    def start(self) -> None:
        """Start DNS, the stores, the services and the edge. Return once the edge answers."""
        self._start_dns()
        self.name("insula-redis", self.redis_host)
        self.name("insula-s3", self.s3_host)
        self.start_stores()
        self.name("insula-submit", self.submit)
        self.name("insula-results", self.results)
        self.start_service("submit", self.submit)
        self.start_service("results", self.results)
        self.start_edge()
        until_blocking(lambda: self.get("/healthz").status_code == 200, START_S)

    def name(self, name: str, *hosts: Host) -> None:
        """Let DNS resolve the name of a Kubernetes service to these hosts: short, with namespace, and in full."""
        self._names[name] = tuple(host.address for host in hosts)
        found = ((address, name) for name, addresses in self._names.items() for address in addresses)
        records = (f"{address} {name}.{NAMESPACE}.svc.cluster.local\n" for address, name in found)
        (self._folder / "names.new").write_text("".join(records))
        (self._folder / "names.new").replace(self._folder / "names")  # so that dnsmasq never reads a part of it
        if "dns" in self.processes:
            self.processes["dns"].send(signal.SIGHUP)

    def start_stores(self) -> None:
        """Start Redis and S3, and make the bucket. Return once both answer."""
        self.start_redis()
        data, keys = self._made("s3"), self._secrets.s3
        (data / "filer.toml").write_text(storage.FILER_STORE)
        (data / "security.toml").write_text(storage.security(keys))
        (data / "identities.json").write_text(storage.identities(keys))
        flags = {"ip": self.s3_host.address, "ip.bind": "0.0.0.0", "dir": ".", "s3.config": "identities.json"}
        more = {"s3.port": str(S3), "admin.ui": "false", "webdav": "false", "master.telemetry": "false"}
        words = ["sh", "-c", OWN_TMP, str(self._programs.weed), "-logtostderr=true", "mini"]
        command = [*words, *(f"-{name}={value}" for name, value in (flags | more).items())]
        self._start("s3", self.s3_host, command, storage.MEMORY, data)
        until_blocking(self._has_bucket, START_S)

    def start_redis(self) -> None:
        """Start Redis with the settings and users of production, on the data that it has."""
        users = {name: f"on >{self._secrets.of_user(name)} {rules}" for name, rules in self._users.items()}
        lines = [f"user insula-{name} {rules}\n" for name, rules in users.items()]
        lines.append(f"user default on >{self._secrets.redis} ~* &* +@all\n")
        (self._made("redis") / "users.acl").write_text("".join(lines))
        where = {"port": str(REDIS), "bind": "0.0.0.0", "dir": ".", "aclfile": "users.acl"}
        command = [str(self._programs.valkey), *valkey.flags(valkey.SETTINGS | where)]
        self._start("redis", self.redis_host, command, {}, self._made("redis"))
        until_blocking(self._redis_answers, START_S)

    def start_service(self, service: str, host: Host) -> None:
        """Start `submit` or `results` on a host. Return once it serves."""
        listens = {"INSULA_LISTEN": f"0.0.0.0:{GRPC}", "INSULA_ADMIN_LISTEN": f"0.0.0.0:{ADMIN}"}
        self._start(host.name, host, _python(f"insula_{service}"), self._stores(service) | listens)
        wanted = (GRPC, ADMIN) if service == "submit" else (GRPC,)
        until_blocking(lambda: all(f":{port}" in self.log(host.name) for port in wanted), START_S)

    def start_edge(self) -> None:
        """Start Envoy."""
        services = {"INSULA_SUBMIT": f"insula-submit:{GRPC}", "INSULA_RESULTS": f"insula-results:{GRPC}"}
        path = f"{self._programs.envoy.parent}:{os.environ['PATH']}"
        self._start("edge", self.edge, _python("insula_envoy"), services | {"PATH": path})

    def start_worker(self, api: str, pod: Host, **variables: str) -> None:
        """Start a worker in a pod, and let the API's name resolve to the edge."""
        self.name(f"api-{api}", self.edge)
        own = {
            "INSULA_API": api,
            "INSULA_WORKER": pod.name,
            "INSULA_LISTEN": f"0.0.0.0:{ADMIN}",
            "INSULA_ADVERTISE": f"{pod.address}:{ADMIN}",
            "INSULA_SCRATCH": str(self._made(pod.name) / "scratch"),
            "INSULA_GRACE_S": "5",
        }
        self._start(pod.name, pod, _python("insula_worker"), self._stores(f"worker-{api}") | own | variables)

    def deploy(self, project: Path) -> None:
        """Register the project's APIs, as the registration Job does. Return once each is ready."""
        command = [
            sys.executable,
            "-m",
            "insula.cli.main",
            "deploy",
            str(project.resolve()),
            "--admin",
            f"insula-submit:{ADMIN}",
        ]
        self.operator.run(*command, environment=os.environ | {"INSULA_ADMIN_TOKEN": self._secrets.admin})

    def post(self, path: str, payload: bytes = b"{}", timeout_s: float = 60, **headers: str) -> requests.Response:
        """POST to the public listener from the operator's host."""
        named = {"Content-Type": "application/json"} | {name.replace("_", "-"): v for name, v in headers.items()}
        url = f"http://{self.edge.address}:{PUBLIC}{path}"
        return self.operator.call(lambda: requests.post(url, data=payload, headers=named, timeout=timeout_s))

    def get(self, path: str, timeout_s: float = 60) -> requests.Response:
        """GET from the public listener. If nothing answers, the status is 599."""
        url = f"http://{self.edge.address}:{PUBLIC}{path}"

        def got() -> requests.Response:
            try:
                return requests.get(url, timeout=timeout_s)
            except requests.ConnectionError:
                none = requests.Response()
                none.status_code = 599
                return none

        return self.operator.call(got)

    def submit_one(self, api: str, **payload: object) -> str:
        """Submit a workload. Return its id."""
        reply = self.post(f"/{api}", json.dumps(payload).encode())
        assert reply.status_code == 200, reply.text
        return str(reply.json()["id"])

    def end_of(self, api: str, id: str, within_s: float = 120) -> dict[str, Any]:
        """Wait until the workload has ended. Return its record."""

        def record() -> dict[str, Any] | None:
            reply = self.get(f"/{api}/{id}")
            found = cast(dict[str, Any], reply.json()) if reply.status_code == 200 else {}
            return found if found.get("status") in ENDED else None

        found = until_blocking(record, within_s, shown=lambda: self.status(api, id))
        assert found is not None
        return found

    def status(self, api: str, id: str) -> str:
        """Return the recorded status, read from Redis itself."""
        return str(self.in_redis(lambda redis: status_of(redis, api, id)))

    def updates(self, api: str) -> list[tuple[str, str]]:
        """Return all changes of status so far: id and new status, oldest first."""
        entries = self.in_redis(lambda redis: redis.xrange(ApiKeys(api).updates))
        found = cast(list[tuple[bytes, dict[bytes, bytes]]], entries)
        return [change for _, update in found for change in changes(update)]

    def history(self, api: str, id: str) -> list[str]:
        """Return the statuses that the workload has had."""
        return [status for one, status in self.updates(api) if one == id]

    def in_redis(self, read: Callable[[Redis], Any]) -> Any:
        """Return what `read` gets from Redis. The client is on Redis' own host, so that no partition affects it."""

        def inside() -> Any:
            retry = Retry(NoBackoff(), 0)
            with Redis(host="127.0.0.1", port=REDIS, password=self._secrets.redis, retry=retry) as redis:
                return read(redis)

        return self.redis_host.call(inside)

    def _redis_answers(self) -> bool:
        try:
            return bool(self.in_redis(lambda redis: redis.ping()))
        except RedisConnectionError:
            return False

    def workers(self, api: str) -> list[str]:
        """Return the names of the workers of the API that have reported to Redis."""
        found = cast(dict[bytes, bytes], self.in_redis(lambda redis: redis.hgetall(ApiKeys(api).workers)))
        return [name.decode() for name in found]

    def check_parts(self) -> None:
        """Raise AssertionError unless all parts run."""
        ended = [name for name, process in self.processes.items() if not process.running]
        assert not ended, {name: self.log(name)[-1000:] for name in ended}

    def objects(self, prefix: str) -> list[str]:
        """Return the keys in Insula's bucket that start with `prefix`."""
        listed = self.s3_host.call(lambda: self._s3().list_objects_v2(Bucket=storage.BUCKET, Prefix=prefix))
        return [item.get("Key", "") for item in listed.get("Contents", [])]

    def log(self, name: str) -> str:
        """Return what a process has printed so far."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def _has_bucket(self) -> bool:
        """Make the bucket. Return whether it exists now. SeaweedFS answers with several errors until it is up."""
        with suppress(BotoCoreError, ClientError):
            self.s3_host.call(lambda: self._s3().create_bucket(Bucket=storage.BUCKET))
            return True
        return False

    def _s3(self) -> S3Client:
        """Return a client for use on S3's own host."""
        keys = self._secrets.s3
        return boto3.session.Session().client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{S3}",
            region_name=storage.REGION,
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
        )

    def _stores(self, user: str) -> dict[str, str]:
        keys = self._secrets.s3
        return {
            "INSULA_REDIS_URL": f"redis://insula-redis:{REDIS}/0",
            "INSULA_REDIS_USER": f"insula-{user}",
            "INSULA_REDIS_PASSWORD": self._secrets.of_user(user),
            "INSULA_ADMIN_TOKEN": self._secrets.admin,
            "INSULA_LEASE_S": str(LEASE_S),
            "INSULA_S3_BUCKET": storage.BUCKET,
            **storage.endpoint(f"http://insula-s3:{S3}"),
            "AWS_ENDPOINT_URL": f"http://insula-s3:{S3}",
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_CONFIG_FILE": os.devnull,
            "PYTHONUNBUFFERED": "1",
        }

    def _start_dns(self) -> None:
        (self._folder / "names").touch()
        flags = ("--no-daemon", "--no-resolv", "--no-hosts", "--user=root", "--local=/cluster.local/")
        names = f"--addn-hosts={self._folder / 'names'}"
        self._start("dns", self._dns, ["dnsmasq", *flags, names, f"--listen-address={self._dns.address}"], {})
        until_blocking(lambda: "names" in self.log("dns"))  # before that, SIGHUP would end it

    def _start(
        self,
        name: str,
        host: Host,
        command: Sequence[str],
        variables: Mapping[str, str],
        directory: Path | None = None,
    ) -> None:
        log: IO[bytes]
        with (self._folder / f"{name}.log").open("ab") as log:
            self.processes[name] = host.start(command, os.environ | dict(variables), log, directory)

    def _made(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        return folder


def _python(module: str) -> list[str]:
    return [sys.executable, "-X", "utf8", "-P", "-m", module]
