"""What one workload costs a whole stack that is idle, in commands that Redis receives."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from typing import Any, Final

from redis import Redis

from insula.keys import ApiKeys
from insula.ledger.scripts import load
from tests.http_api import HttpApi
from tests.stack import Stack

KEYS = ApiKeys("probe")
SCRIPTS: Final = {
    load(name).sha: name
    for name in (path.name.removesuffix(".lua") for path in (files("insula.ledger") / "scripts").iterdir())
    if name != "library"
}
COMMANDS: Final = {"submit": 1, "claim": 1, "finish": 1, "XREAD": 1}
"""From the POST until the worker waits for the next workload. Reads of the record are not counted."""


def test_one_workload_of_an_idle_stack_costs_these_commands(stack: Stack) -> None:
    api = HttpApi(f"{stack.public}/probe")
    api.run(b"{}", "application/json")  # Redis knows all scripts from now on
    found: Counter[str] = Counter()
    with Redis.from_url(stack.info["redis"]) as redis, redis.monitor() as monitor:
        commands: Any = monitor
        api.submit(b"{}", "application/json")
        while not (found["finish"] and found["XREAD"]):
            one = commands.next_command()
            words = one["command"].split()
            if one["client_type"] != "lua" and KEYS.queue in words:
                found[SCRIPTS[words[1]] if words[0] == "EVALSHA" else words[0]] += 1
    assert found == COMMANDS
