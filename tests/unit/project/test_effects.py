"""Keys that are accepted but have no effect on one machine."""

from __future__ import annotations

from insula.project.configuration.effects import ineffective_keys, warning
from tests.unit.project.entries import spec


def test_defaults_need_no_warning() -> None:
    assert ineffective_keys(spec("  autoscaling: {min_replicas: 1, window: 1m, max_replicas: 7}\n")) == ()


def test_keys_without_effect_are_in_one_warning() -> None:
    """The warning does not name `mem`, `gpu` and `max_replica_concurrency`, which have an effect."""
    more = "  compute: {gpu: 1, cpu: 500m, mem: 1Gi}\n  autoscaling: {min_replicas: 2, max_replica_concurrency: 5}\n"
    keys = ineffective_keys(spec(more))
    assert keys == ("compute.cpu", "autoscaling.min_replicas")
    assert warning("my-api", keys) == ("my-api: compute.cpu, autoscaling.min_replicas have no effect on one machine")
    only = ineffective_keys(spec("  autoscaling: {init_replicas: 2}\n"))
    assert warning("my-api", only) == "my-api: autoscaling.init_replicas has no effect on one machine"


def test_a_default_that_follows_another_key_needs_no_warning() -> None:
    assert ineffective_keys(spec("    threads_per_process: 8\n  autoscaling: {min_replicas: 1}\n")) == ()
    chosen = spec("    threads_per_process: 8\n  autoscaling: {target_replica_concurrency: 4}\n")
    assert ineffective_keys(chosen) == ("autoscaling.target_replica_concurrency",)
