"""Which keys of cortex.yaml have no effect on one machine, where `insula up` runs one worker for each API."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from insula.project.spec import ApiSpec

WITHOUT_EFFECT: Final = (
    "handler.image",
    "handler.shm_size",
    "handler.tensorflow_serving_image",
    "compute.cpu",
    "compute.gpu",
    "compute.inf",
    "compute.node_groups",
    "autoscaling.min_replicas",
    "autoscaling.init_replicas",
    "autoscaling.target_replica_concurrency",
    "autoscaling.window",
    "autoscaling.downscale_stabilization_period",
    "autoscaling.upscale_stabilization_period",
    "autoscaling.max_downscale_factor",
    "autoscaling.max_upscale_factor",
    "autoscaling.downscale_tolerance",
    "autoscaling.upscale_tolerance",
    "update_strategy.max_unavailable",
)
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
