"""The rules of cortex.yaml that concern several keys, and the rules for endpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from insula.project.configuration.tree import Invalid

if TYPE_CHECKING:
    from insula.project.configuration.spec import ApiSpec, Models
    from insula.project.configuration.units import Quantity

# The edge's URL patterns have this many segments, and its own paths take precedence over endpoints (both in envoy/).
ENDPOINT_SEGMENTS_MAX: Final = 8
ENDPOINTS_RESERVED: Final = frozenset({"/healthz", "/metrics", "/ui", "/v1/apis", "/v1/openapi.json"})


def canonical_endpoint(endpoint: str, name: str) -> str:
    """Return `endpoint`, or `/<name>` if it is empty, with one leading slash and no slash at the end.

    Raises Invalid for an endpoint that Envoy could not route to.
    """
    path = ("networking", "endpoint")
    canonical = f"/{endpoint.removeprefix('/')}" if endpoint else f"/{name}"
    if "//" in canonical:
        raise Invalid(f'cannot contain adjacent slashes (got "{endpoint}")', path)
    if canonical == "/":
        raise Invalid('cannot be just "/"', path)
    canonical = canonical.removesuffix("/")
    segments = canonical[1:].split("/")
    if not {".", ".."}.isdisjoint(segments):
        raise Invalid(f'cannot contain "." or ".." between slashes (got "{endpoint}")', path)
    if len(segments) > ENDPOINT_SEGMENTS_MAX:
        raise Invalid(f"must have at most {ENDPOINT_SEGMENTS_MAX} parts between slashes (got {len(segments)})", path)
    if canonical in ENDPOINTS_RESERVED:
        reserved = ", ".join(sorted(ENDPOINTS_RESERVED))
        raise Invalid(f"{canonical} is reserved, as are {reserved}; choose another networking.endpoint", path)
    return canonical


def completed(spec: ApiSpec) -> ApiSpec:
    """Return `spec` with the defaults that depend on other keys. Raises Invalid if two keys contradict each other."""
    endpoint = canonical_endpoint(spec.networking.endpoint, spec.name)
    _check_models(spec.handler.type, spec.handler.models)
    scaling = spec.autoscaling
    low, high, target = scaling.min_replicas, scaling.max_replicas, scaling.target_replica_concurrency
    if target is None:
        target = target_default(spec)
    initial = low if scaling.init_replicas is None else scaling.init_replicas
    if low > high:
        raise Invalid(f"min_replicas cannot be greater than max_replicas ({low} > {high})", ("autoscaling",))
    if initial > high:
        raise Invalid(f"init_replicas cannot be greater than max_replicas ({initial} > {high})", ("autoscaling",))
    if initial < low:
        raise Invalid(f"init_replicas cannot be less than min_replicas ({initial} < {low})", ("autoscaling",))
    if target > scaling.max_replica_concurrency:
        problem = "target_replica_concurrency cannot be greater than max_replica_concurrency"
        raise Invalid(f"{problem} ({target:g} > {scaling.max_replica_concurrency})", ("autoscaling",))
    if spec.update_strategy.in_place and spec.update_strategy.max_unavailable.rstrip("%") == "0":
        raise Invalid("max_surge and max_unavailable cannot both be zero", ("update_strategy",))
    if spec.compute.gpu and spec.compute.inf:
        raise Invalid("gpu and inf cannot both be requested", ("compute",))
    _check_memory(spec.handler.max_memory_per_process, spec.compute.mem)
    return replace(
        spec,
        autoscaling=replace(scaling, init_replicas=initial, target_replica_concurrency=target),
        networking=replace(spec.networking, endpoint=endpoint),
    )


def _check_memory(process: Quantity | None, worker: Quantity | None) -> None:
    """Raise Invalid unless the limit of a process is below compute.mem, the limit of all processes together."""
    if process and worker and process.amount >= worker.amount:
        problem = f"must be less than compute.mem, which is {worker} (got {process})"
        raise Invalid(problem, ("handler", "max_memory_per_process"))


def target_default(spec: ApiSpec) -> float:
    """Return the default `target_replica_concurrency` of `spec`: the number of workloads that a replica runs at a time.

    At most `max_replica_concurrency`.
    """
    return float(min(spec.slots, spec.autoscaling.max_replica_concurrency))


def _check_models(type: str, models: Models | None) -> None:
    path = ("handler", "models")
    if type == "python":
        if models is not None:
            raise Invalid("is not supported by the handler type python; use type: tensorflow, or leave it out", path)
        return
    if models is None:
        raise Invalid("must be defined: the handler type tensorflow needs one of path, paths and dir", path)
    given = [key for key, value in (("path", models.path), ("paths", models.paths), ("dir", models.dir)) if value]
    if len(given) != 1:
        raise Invalid(f"exactly one of path, paths and dir must be defined (got {' and '.join(given) or 'none'})", path)
    names = [model.name for model in models.paths]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise Invalid(f'the name "{repeated[0]}" is used by more than one model', (*path, "paths"))
