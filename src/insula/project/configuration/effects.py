"""Which keys of cortex.yaml have no effect on one machine, where `insula up` runs one worker for each API."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from insula.project.configuration.sections import NO_EFFECT
from insula.project.configuration.spec import API, ApiSpec

WITHOUT_EFFECT: Final = tuple(path for path, key in API.all_keys() if key.meaning.endswith(NO_EFFECT))
_DEFAULTS: Final = ApiSpec.from_json(
    b'{"name": "a", "kind": "AsyncAPI", "handler": {"type": "python", "path": "handler.py"}}'
)


def ineffective_keys(spec: ApiSpec) -> tuple[str, ...]:
    """Return the keys that say something else than their default, and have no effect on one machine."""
    keys = [key for key in WITHOUT_EFFECT if attrgetter(key)(spec) != attrgetter(key)(_DEFAULTS)]
    if spec.autoscaling.init_replicas == spec.autoscaling.min_replicas:  # which is its default
        keys = [key for key in keys if key != "autoscaling.init_replicas"]
    return tuple(keys)


def warning(name: str, keys: tuple[str, ...]) -> str:
    """Return the sentence about the API with these keys, at least one."""
    verb = "has" if len(keys) == 1 else "have"
    return f"{name}: {', '.join(keys)} {verb} no effect on one machine"
