"""The access rules of Redis for each process, as arguments of `ACL SETUSER` without the user's name and password.

A worker may access the keys of its API only. submit and results may access the keys of all APIs and the registry, and
no other keys. No user may run a command that lists keys, or that changes Redis' configuration, users or scripts. Redis
allows AUTH and HELLO to every user, so no rule names them.
"""

from __future__ import annotations

from typing import Final

from insula.keys import APIS, ENDPOINTS, EVERY_API, ApiKeys

_CONNECTION: Final = ("ping", "client|setname")
_TRANSACTIONS: Final = ("watch", "unwatch", "multi", "exec")
_SCRIPTS: Final = ("eval", "evalsha")
_RECORDS: Final = ("time", "exists", "del", "expire", "hget", "hmget", "hgetall", "hset", "hdel", "hincrby", "zadd")
_STREAMS: Final = ("xadd", "xrange", "xrevrange", "xack", "xdel")
_COMMON: Final = (*_CONNECTION, *_TRANSACTIONS, *_SCRIPTS, *_RECORDS, *_STREAMS)
_WORKER: Final = ("xread", "xgroup|create", "xreadgroup", "xpending", "xclaim")
_SERVICES: Final = {
    "submit": ("config|get", "set", "hsetnx", "zrem", "zscore", "xlen", "xgroup|create"),
    "results": (
        "config|get", "hsetnx", "hscan", "pexpire", "zcard", "zrangebyscore", "zrem", "zremrangebyscore", "xread",
        "xpending",
    ),
}  # fmt: skip


def worker_acl(api: str) -> str:
    """Return the rules for the Redis user of an API's workers."""
    return _rules((f"{ApiKeys(api).prefix}*",), (*_COMMON, *_WORKER))


def service_acl(service: str) -> str:
    """Return the rules for the Redis user of a service: `submit` or `results`."""
    return _rules((APIS, ENDPOINTS, EVERY_API), (*_COMMON, *_SERVICES[service]))


def _rules(keys: tuple[str, ...], commands: tuple[str, ...]) -> str:
    """Return rules that allow these key patterns and commands only. They replace the former rules of the user."""
    allowed = [*(f"~{key}" for key in keys), "-@all", *(f"+{command}" for command in sorted(commands))]
    return " ".join(["on", "resetkeys", "resetchannels", *allowed])
