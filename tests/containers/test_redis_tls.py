"""Redis 7.0 of Debian, the oldest supported version: it serves TLS itself, and demands users and passwords.

The Valkey of the other tests has no TLS. Debian's redis-check-rdb is redis-server under another name; the package
redis-server would start a server.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from redis import Redis
from redis.exceptions import RedisError

from insula.access import service_acl, worker_acl
from tests.addresses import free_addresses
from tests.contract.stores.seaweedfs import KEYS, running_seaweedfs
from tests.suite import running_suite, write_project
from tests.waiting import until_blocking

pytestmark = pytest.mark.containers

PASSWORD = "of-a-test"
USERS = {
    "insula-submit": service_acl("submit"),
    "insula-results": service_acl("results"),
    "insula-worker-a": worker_acl("a"),
}


@contextmanager
def running_redis(folder: Path, authority: trustme.CA) -> Generator[str]:
    """Run a server with TLS alone and with USERS. Yield its URL."""
    folder.mkdir()
    port, address = free_addresses()  # forwarded ports of containers are those of 127.0.0.1
    certificate = authority.issue_cert(address)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    lines = [f"user {user} >{PASSWORD} {rules}" for user, rules in USERS.items()]
    (folder / "users").write_text("\n".join(["user default off", *lines, f"user admin on >{PASSWORD} ~* &* +@all", ""]))
    (folder / "redis-server").symlink_to("/usr/bin/redis-check-rdb")
    settings = {
        "port": "0",
        "bind": address,
        "tls-port": str(port),
        "tls-cert-file": "certificate.pem",
        "tls-key-file": "key.pem",
        "tls-ca-cert-file": "ca.pem",
        "tls-auth-clients": "no",
        "appendonly": "yes",
        "appendfsync": "always",
        "aclfile": "users",
    }
    command = [
        str(folder / "redis-server"),
        *(word for name, value in settings.items() for word in (f"--{name}", value)),
    ]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            yield f"rediss://{address}:{port}/0"
        finally:
            process.kill()


def test_the_services_run_a_workload_with_redis_7_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    (tmp_path / "s3").mkdir()
    with running_redis(tmp_path / "redis", authority) as url, running_seaweedfs(tmp_path / "s3", authority) as s3:
        variables = {
            "INSULA_REDIS_URL": url,
            "INSULA_REDIS_PASSWORD": PASSWORD,
            "INSULA_REDIS_CA_FILE": str(tmp_path / "redis" / "ca.pem"),
        }
        admin = Redis.from_url(url, username="admin", password=PASSWORD, ssl_ca_certs=variables["INSULA_REDIS_CA_FILE"])
        until_blocking(lambda: answers(admin))
        with running_suite(s3.variables | KEYS | variables) as suite:
            for name in ("submit", "results"):
                suite.start(name, {"INSULA_REDIS_USER": f"insula-{name}"})
            suite.command("deploy", str(write_project(tmp_path / "project", "a")))
            suite.start("a", {"INSULA_REDIS_USER": "insula-worker-a"})
            assert suite.run("a").status == "completed"
            suite.command("delete", "a")
            assert [suite.end(name) for name in ("a", "results", "submit")] == [0, 0, 0]
        assert admin.info("server")["redis_version"].startswith("7.0.")
        assert admin.acl_log() == []
        admin.close()


def answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False
