"""A Redis that demands TLS, a user and a password."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
from redis import Redis

from insula.access import service_acl, worker_acl
from insula.errors import StoreUnavailable
from insula.keys import ApiKeys
from insula.ledger import LedgerPolicy, WorkloadLedger
from insula.settings import redis_url
from insula.stores.redis_client import check_durability, connect
from tests.contract.stores.seaweedfs import KEYS, SeaweedFs
from tests.relay import encrypted, relaying
from tests.suite import running_suite, write_project
from tests.valkey import Valkey, running_valkey

PASSWORD = "only-the-services-may-read-this"
USERS = {
    "insula-submit": service_acl("submit"),
    "insula-results": service_acl("results"),
    "insula-worker-a": worker_acl("a"),
}


@dataclass(frozen=True)
class SecureRedis:
    """A Redis behind TLS, with USERS, and with the user `default` switched off."""

    port: int
    ca_file: Path
    password_file: Path

    def variables(self, user: str, host: str = "localhost") -> dict[str, str]:
        """Return the variables of a service. The password is in a file."""
        return {
            "INSULA_REDIS_URL": f"rediss://{host}:{self.port}/0",
            "INSULA_REDIS_USER": user,
            "INSULA_REDIS_PASSWORD_FILE": str(self.password_file),
            "INSULA_REDIS_CA_FILE": str(self.ca_file),
        }


@pytest_asyncio.fixture
async def redis(tmp_path: Path, authority: trustme.CA) -> AsyncGenerator[SecureRedis]:
    folder, certificate, password = tmp_path / "redis", tmp_path / "ca.pem", tmp_path / "password"
    folder.mkdir()
    authority.cert_pem.write_to_path(certificate)
    password.write_text(f"{PASSWORD}\n")
    with running_valkey(folder) as valkey:
        with Redis.from_url(valkey.url) as client:
            for user, rules in USERS.items():
                client.execute_command("ACL", "SETUSER", user, f">{PASSWORD}", *rules.split())
            client.execute_command("ACL", "SETUSER", "default", "off")
        async with encrypted(valkey.port, authority) as port:
            yield SecureRedis(port, certificate, password)


@pytest.mark.slow
async def test_the_services_run_a_workload_with_tls_users_and_passwords(
    redis: SecureRedis, s3: SeaweedFs, tmp_path: Path
) -> None:
    """The password is in no log."""

    def run() -> str:
        with running_suite(s3.variables | KEYS) as suite:
            for name in ("submit", "results"):
                suite.start(name, redis.variables(f"insula-{name}"))
            suite.command("deploy", str(write_project(tmp_path / "project", "a")))
            suite.start("a", redis.variables("insula-worker-a"))
            assert suite.run("a").status == "completed"
            return "".join(suite.log(name) for name in ("submit", "results", "a"))

    assert PASSWORD not in await asyncio.to_thread(run)


WRONG = {
    "password": "Redis refuses the user or password: .*; check INSULA_REDIS_USER and INSULA_REDIS_PASSWORD",
    "name": "Redis' certificate is refused: .*not valid for .*; use the name in the certificate as the host of",
    "authority": "Redis' certificate is refused: .*; set INSULA_REDIS_CA_FILE to the certificates of its CA",
    "no TLS": "Redis does not return its configuration: ",
    "right": r"Redis denies a command to its user: user insula-worker-a: .*config\|get.*; give the user the ACL rules",
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_the_error_names_what_is_wrong(redis: SecureRedis, tmp_path: Path, wrong: str) -> None:
    """A worker's user may not read the configuration. No error has the password."""
    variables = redis.variables("insula-worker-a", "127.0.0.1" if wrong == "name" else "localhost")
    match wrong:
        case "password":
            redis.password_file.write_text(f"not {PASSWORD}")
        case "authority":
            trustme.CA().cert_pem.write_to_path(redis.ca_file)
        case "no TLS":
            variables["INSULA_REDIS_URL"] = variables["INSULA_REDIS_URL"].replace("rediss", "redis")
            del variables["INSULA_REDIS_CA_FILE"]
        case _:
            pass
    client = connect(redis_url(variables))
    with pytest.raises(StoreUnavailable, match=WRONG[wrong]) as refused:
        await check_durability(client, "strict")
    await client.aclose()
    assert PASSWORD not in str(refused.value)


async def test_after_a_failover_a_client_finds_the_primary(tmp_path: Path) -> None:
    """Its connection still leads to the former primary, now a replica. The second call uses a new connection."""
    for name in ("former", "primary"):
        (tmp_path / name).mkdir()
    with running_valkey(tmp_path / "former") as former, running_valkey(tmp_path / "primary") as primary:
        target = former.port
        async with relaying(lambda: target) as port:
            client = connect(f"redis://127.0.0.1:{port}/0")
            ledger = WorkloadLedger(client, LedgerPolicy())
            await ledger.open("a")
            with Redis.from_url(former.url) as admin:
                admin.execute_command("REPLICAOF", "127.0.0.1", primary.port)
            target = primary.port
            with pytest.raises(StoreUnavailable, match="read only replica"):
                await ledger.open("b")
            await ledger.open("b")
            await client.aclose()
        with Redis.from_url(primary.url) as admin:
            assert admin.exists(ApiKeys("b").queue)


async def test_a_cancelled_call_ends_whenever_it_is_cancelled(valkey: Valkey) -> None:
    """On Python 3.11, redis-py loses a cancellation that arrives when a command has just been sent."""
    client = connect(valkey.url)
    await client.ping()  # the connection exists from now on
    for turns in range(1, 20):
        call = asyncio.ensure_future(client.xread({"nothing": "$"}, block=60_000))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait({call}, timeout=30)
        assert call.cancelled(), f"it was cancelled in turn {turns}"
    await client.aclose()
