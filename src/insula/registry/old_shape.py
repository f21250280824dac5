"""Migrates registrations of the old format, in which the hash `insula:apis` had each registration as JSON.

Three steps migrate an API. Each is atomic and safe to repeat. First, the registration is written unless one exists.
Then the endpoint is listed unless an API has it. Last, a mark replaces the JSON if the JSON has not changed. So the
next migration finishes a killed one, and several may run at once. The class Registry migrates before it reads.
"""

from __future__ import annotations

import json
from importlib.resources import files
from itertools import chain
from typing import Any, Final, cast

from redis.asyncio import Redis

from insula.keys import APIS, ENDPOINTS, ApiKeys
from insula.registry.index import EndpointClaim
from insula.stores.redis_client import redis_errors

_SCRIPTS: Final = files("insula.registry") / "scripts"
_REGISTRATION: Final = (_SCRIPTS / "move_registration.lua").read_text()
_ENDPOINT: Final = (_SCRIPTS / "move_endpoint.lua").read_text()
_NAME: Final = (_SCRIPTS / "move_name.lua").read_text()


async def move_old_shape(redis: Redis) -> None:
    """Move every registration to its own key. Raises StoreUnavailable; then call it again."""
    client: Any = redis  # redis-py leaves the replies of hash commands untyped
    with redis_errors():
        found = cast(dict[bytes, bytes], await client.hgetall(APIS))
        old = {name.decode(): json.loads(value) for name, value in found.items() if value.startswith(b"{")}
        # Live APIs first: if two APIs have one endpoint, it belongs to the live one.
        for name in sorted(old, key=lambda name: bool(old[name].get("deleted_ms"))):
            await _move(client, name, found[name.encode()], old[name])


async def _move(redis: Any, name: str, value: bytes, record: dict[str, Any]) -> None:
    if await redis.hget(APIS, name) != value:
        return  # another process was faster
    fields = {field: one if isinstance(one, str | int) else json.dumps(one) for field, one in record.items()}
    endpoint, claim = record.get("endpoint", f"/{name}"), EndpointClaim(0, name).render()
    await redis.eval(_REGISTRATION, 1, ApiKeys(name).registration, *chain.from_iterable(fields.items()))
    await redis.eval(_ENDPOINT, 1, ENDPOINTS, endpoint, claim)
    await redis.eval(_NAME, 1, APIS, name, value, record.get("updated_ms", 0))
