"""The access rules of Redis: each process has the rights that it needs, and a worker none on another API's keys."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from insula.access import service_acl, worker_acl
from insula.errors import StoreUnavailable
from insula.keys import APIS, ENDPOINTS, ApiKeys
from insula.ledger import Claimant, Lease, LedgerPolicy, Payload, Result, WorkloadLedger
from insula.registry import Registry
from insula.rpc.admin_client import AdminClient
from insula.stores.redis_client import connect
from insula.v1.workload_pb2 import Workload
from tests.addresses import free_port
from tests.contract.stores.seaweedfs import KEYS, SeaweedFs
from tests.stack import status_of
from tests.suite import LARGE, running_suite, write_project
from tests.valkey import Valkey
from tests.waiting import until_blocking

ROOT = Path(__file__).parents[3]
PASSWORD = "of-a-test"
RULES = {
    "submit": service_acl("submit"),
    "results": service_acl("results"),
    "insula-worker-a": worker_acl("a"),
    "insula-worker-b": worker_acl("b"),
}
SCRIPTS = {
    "submit": ("open", "close", "reopen", "cancel", "submit", "move_endpoint", "move_name", "move_registration"),
    "results": (
        "read",
        "expired",
        "forget",
        "drop",
        "abandon",
        "sample",
        "move_endpoint",
        "move_name",
        "move_registration",
    ),
    "insula-worker-a": ("open", "claim", "begin", "renew", "finish", "requeue", "reclaim"),
}


@pytest.fixture
def users(valkey: Valkey) -> Mapping[str, dict[str, str]]:
    """Make the users. Return for each the variables that name it."""
    with Redis.from_url(valkey.url) as client:
        for user, rules in RULES.items():
            client.execute_command("ACL", "SETUSER", user, f">{PASSWORD}", *rules.split())
        client.execute_command("ACL", "LOG", "RESET")
    return {user: {"INSULA_REDIS_USER": user, "INSULA_REDIS_PASSWORD": PASSWORD} for user in RULES}


def denied(valkey: Valkey) -> list[str]:
    """Return the reasons and objects in Redis' log of denied commands."""
    with Redis.from_url(valkey.url, decode_responses=True) as client:
        entries = cast("list[dict[str, Any]]", client.acl_log())
    return [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in entries]


@pytest.mark.slow
def test_each_process_lives_its_whole_life_under_its_own_user(
    valkey: Valkey, s3: SeaweedFs, users: Mapping[str, dict[str, str]], tmp_path: Path
) -> None:
    """Redis denies no command: from the first deployment to the last sweep, with a lost worker and a drain."""
    port = free_port()
    stores = {"INSULA_REDIS_URL": valkey.url, "INSULA_RETENTION_S": "5", "INSULA_LEASE_S": "2", **s3.variables, **KEYS}
    with running_suite(stores) as suite, Redis.from_url(valkey.url) as client:
        suite.start("submit", users["submit"])
        suite.start("results", users["results"] | {"INSULA_METRICS_LISTEN": f"127.0.0.1:{port}"})
        project = write_project(tmp_path / "project", "a", "b")
        suite.command("deploy", str(project))
        advertised = suite.folder / "elsewhere.sock"
        advertised.symlink_to(suite.folder / "b.sock")
        for api in ("a", "b"):
            suite.start(
                api,
                {**users[f"insula-worker-{api}"], **({"INSULA_ADVERTISE": f"unix:{advertised}"} if api == "b" else {})},
            )
            assert completed(suite.run(api))
        with AdminClient.at(suite.address("admin")) as admin:
            assert [worker.address for worker in admin.api("b").workers] == [f"unix:{advertised}"]
        assert "processing workload..." in suite.command("logs", "b")
        metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        assert re.search(r'cortex_async_queued\{.*"a".*\} 0', metrics)

        (project / "more.txt").write_text("another version")
        suite.command("deploy", str(project))
        suite.command("refresh", "a")
        until_blocking(lambda: "ready" in suite.command("get", "a"), shown=lambda: suite.log("a"))
        assert completed(suite.run("a"))

        suite.processes["a"].kill()
        waiting = suite.submit("a")
        suite.start("a", users["insula-worker-a"])
        assert completed(suite.result("a", waiting))
        assert suite.end("a") == 0
        unclaimed = suite.submit("a")
        suite.command("delete", "a")
        assert status_of(client, "a", unclaimed) == "cancelled"
        until_blocking(lambda: client.keys(f"{ApiKeys('a').prefix}*") == [], shown=lambda: suite.log("results"))
        until_blocking(lambda: client.hkeys(APIS) == [b"b"], shown=lambda: suite.log("results"))
        assert all(suite.end(name) == 0 for name in ("b", "results", "submit"))
    assert denied(valkey) == []


def completed(workload: Workload) -> bool:
    assert workload.status == "completed", workload
    return str(len(LARGE)).encode() in workload.result_json


@pytest.mark.parametrize("user", SCRIPTS)
def test_the_commands_of_each_script_are_allowed(user: str) -> None:
    """Rare paths of the scripts are covered too."""
    allowed = {rule[1:] for rule in RULES[user].split() if rule.startswith("+")}
    names = {path.name.removesuffix(".lua"): path.read_text() for path in scripts()}
    for name in (*SCRIPTS[user], "library"):
        called = re.findall(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?", names[name])
        commands = {f"{command}|{word}".lower() if command == "XGROUP" else command.lower() for command, word in called}
        assert commands - allowed == set(), name


def scripts() -> list[Any]:
    folders = (files("insula.ledger") / "scripts", files("insula.registry") / "scripts")
    return [path for folder in folders for path in folder.iterdir() if path.name.endswith(".lua")]


def test_every_script_belongs_to_a_user() -> None:
    known = {name for names in SCRIPTS.values() for name in names} | {"library"}
    assert {path.name.removesuffix(".lua") for path in scripts()} == known


def test_the_page_of_redis_has_these_rules(valkey: Valkey) -> None:
    """Redis accepts its lines."""
    [block] = re.findall(r"```none\n(.*?)```", (ROOT / "docs/redis-and-s3.md").read_text(), re.DOTALL)
    of_page = {name: service_acl(name) for name in ("submit", "results")} | {"worker-my-api": worker_acl("my-api")}
    assert block.splitlines() == [f"ACL SETUSER insula-{name} >PASSWORD {rules}" for name, rules in of_page.items()]
    with Redis.from_url(valkey.url) as client:
        for line in block.splitlines():
            assert client.execute_command(*line.split()) in (True, b"OK")


def url_of(valkey: Valkey, user: str) -> str:
    return f"redis://{user}:{PASSWORD}@127.0.0.1:{valkey.port}/0"


OF_B = ApiKeys("b")
ID = "01900000-0000-7000-8000-000000000000"
COMMANDS = (
    *(("DEL", key) for key in (*OF_B.all, OF_B.registration, OF_B.workers, OF_B.workload(ID), APIS, ENDPOINTS)),
    *(("EXISTS", key) for key in (*OF_B.all, OF_B.registration, OF_B.workers, OF_B.workload(ID), APIS, ENDPOINTS)),
    ("HGETALL", APIS), ("HGETALL", ENDPOINTS), ("HSET", APIS, "a", "1"), ("HSET", ENDPOINTS, "/", "1 a"),
    ("HGETALL", OF_B.registration), ("HSET", OF_B.registration, "spec", "{}"), ("XRANGE", OF_B.queue, "-", "+"),
    ("XADD", OF_B.queue, "*", "id", ID), ("XREAD", "STREAMS", OF_B.updates, "0"),
    ("EVAL", "return redis.call('HGETALL', KEYS[1])", 1, OF_B.registration),
    ("EVAL", "return redis.call('HGETALL', ARGV[1])", 0, OF_B.registration),
    ("EVAL", "return redis.call('KEYS', '*')", 0), ("EVAL", "return redis.call('FLUSHALL')", 0),
)  # fmt: skip
DANGEROUS = (
    "KEYS *", "SCAN 0", "RANDOMKEY", "DBSIZE", "INFO", "FLUSHALL", "FLUSHDB", "CONFIG GET *", "CONFIG SET save x",
    "ACL LIST", "ACL WHOAMI", "ACL SETUSER x", "SCRIPT FLUSH", "SCRIPT KILL", "FUNCTION LIST", "CLIENT LIST",
    "CLIENT KILL ID 1", "MONITOR", "SHUTDOWN NOSAVE", "SAVE", "BGREWRITEAOF", "REPLICAOF NO ONE",
    "PUBLISH c m", "SUBSCRIBE c", "COPY a b", "RENAME a b", "RESTORE a 0 x", "MIGRATE h 1 k 0 1", "SWAPDB 0 1",
    "MODULE LIST", "SLOWLOG GET", "LATENCY LATEST", "WAIT 0 0", "SELECT 1", "GET a", "SORT a",
)  # fmt: skip


def test_a_worker_can_neither_read_nor_write_the_keys_of_another_api(
    valkey: Valkey, users: Mapping[str, dict[str, str]]
) -> None:
    with Redis.from_url(valkey.url) as client:
        client.hset(OF_B.registration, "spec", "{}")
    with Redis.from_url(url_of(valkey, "insula-worker-a")) as worker:
        for command in (*COMMANDS, *(tuple(line.split()) for line in DANGEROUS)):
            with pytest.raises((NoPermissionError, ResponseError), match=r"permissions|ACL failure in script"):
                worker.execute_command(*command)
        key = ApiKeys("a").registration
        assert worker.execute_command("EVAL", "return redis.call('HSET', KEYS[1], 'spec', '{}')", 1, key) == 1


async def test_each_step_of_a_worker_is_denied_on_another_api(
    valkey: Valkey, users: Mapping[str, dict[str, str]]
) -> None:
    """The scripts are in Redis' cache, because b's worker has used them. The error names the user and the cause."""
    claimant, lease = Claimant("w", "v", "h:1"), Lease("b", ID, 1, "1-1")
    clients = [connect(url_of(valkey, f"insula-worker-{api}")) for api in ("a", "b")]

    def steps(redis: Any) -> list[Callable[[], Awaitable[object]]]:
        ledger, registry = WorkloadLedger(redis, LedgerPolicy()), Registry(redis, migrates=False)
        return [
            lambda: ledger.open("b"),
            lambda: ledger.claim("b", claimant, count=1),
            lambda: ledger.reclaim("b", claimant, count=1, held=(), expired=True, own_lost=True),
            lambda: ledger.renew("w", [lease]),
            lambda: ledger.read("b", ID),
            lambda: registry.find("b"),
            lambda: registry.workers("b"),
            lambda: registry.report("b", "w", []),
        ]

    for step in steps(clients[1]):
        await step()
    ledger = WorkloadLedger(clients[0], LedgerPolicy())
    further = [
        lambda: ledger.finish(lease, Result(inline=b"{}")),
        lambda: ledger.requeue(lease),
        lambda: ledger.submit("b", ID, Payload("text/plain", 1, inline=b"x"), queue_limit=1),
        lambda: Registry(clients[0], migrates=False).promote("b", "v"),
        lambda: Registry(clients[0]).all(),
    ]
    for step in (*steps(clients[0]), *further):
        with pytest.raises(StoreUnavailable, match="Redis denies a command to its user: user insula-worker-a: "):
            await step()
    for client in clients:
        await client.aclose()


def test_no_rule_allows_a_dangerous_command() -> None:
    """CONFIG GET is allowed to submit and results, which check the durability."""
    for user, rules in RULES.items():
        allowed = {rule[1:] for rule in rules.split() if rule.startswith("+")}
        assert not [command for command in allowed if command.startswith("@")]
        assert ("config|get" in allowed) == (user in ("submit", "results"))
    assert worker_acl("a").split()[:4] == ["on", "resetkeys", "resetchannels", "~insula:{a}:*"]
