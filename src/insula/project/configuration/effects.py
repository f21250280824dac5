"""Finds the keys of cortex.yaml that have no effect with `insula up`, which has no autoscaler."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from insula.project.configuration.rules import target_default
from insula.project.configuration.sections import NO_EFFECT
from insula.project.configuration.spec import API, ApiSpec

WITHOUT_EFFECT: Final = tuple(path for path, key in API.all_keys() if key.meaning.endswith(NO_EFFECT))
_DEFAULTS: Final = ApiSpec.from_json(
    b'{"name": "a", "kind": "AsyncAPI", "handler": {"type": "python", "path": "handler.py"}}'
)


def ineffective_keys(spec: ApiSpec) -> tuple[str, ...]:
    """Return the keys of `spec` that have no effect on one machine, if their value is not the default."""
    defaults: dict[str, object] = {key: attrgetter(key)(_DEFAULTS) for key in WITHOUT_EFFECT}
    defaults["autoscaling.init_replicas"] = spec.autoscaling.min_replicas
    defaults["autoscaling.target_replica_concurrency"] = target_default(spec)
    return tuple(key for key in WITHOUT_EFFECT if attrgetter(key)(spec) != defaults[key])


def warning(name: str, keys: tuple[str, ...]) -> str:
    """Return the warning that these keys of the API `name` have no effect. `keys` must not be empty."""
    verb = "has" if len(keys) == 1 else "have"
    return f"{name}: {', '.join(keys)} {verb} no effect on one machine"
