"""One API as its entry in cortex.yaml describes it, defaults filled in.

`ApiSpec.from_json` holds a spec that came over the wire to the same rules as a file, so nothing downstream
checks again. The JSON has the keys of cortex.yaml, sorted; only `handler.config` keeps the order it was written in.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar, cast

from insula.errors import ProjectInvalid
from insula.project import other_versions, rules
from insula.project.keys import API, KIND
from insula.project.tree import Invalid, Json, Node, describe, locate, parse_json, quote
from insula.project.units import Quantity, format_duration

SPEC_BYTES_MAX: Final = 2**20
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The files that say what to install, relative to the project directory; each may be missing."""

    pip: str
    conda: str
    shell: str


@dataclass(frozen=True, slots=True)
class Model:
    """One named SavedModel."""

    name: str
    path: str
    signature_key: str | None


@dataclass(frozen=True, slots=True)
class Models:
    """Where a TensorFlow handler's models lie: exactly one of `path`, `paths` and `dir` is set."""

    path: str | None
    paths: tuple[Model, ...]
    dir: str | None
    signature_key: str | None


@dataclass(frozen=True, slots=True)
class Handler:
    """The user's class and what it needs around it. Paths are relative to the project directory."""

    type: str
    path: str
    dependencies: Dependencies
    config: Mapping[str, Json] = field(hash=False)
    # Stands in for the project directory on sys.path; None means the project directory.
    python_path: str | None
    image: str | None
    env: Mapping[str, str] = field(hash=False)
    log_level: str
    shm_size: Quantity | None
    models: Models | None
    tensorflow_serving_image: str | None


@dataclass(frozen=True, slots=True)
class Compute:
    """What one replica asks of its machine. `mem` None means no limit."""

    cpu: Quantity
    mem: Quantity | None
    gpu: int
    inf: int
    node_groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """How many replicas, and when."""

    min_replicas: int
    max_replicas: int
    init_replicas: int
    max_replica_concurrency: int
    target_replica_concurrency: float
    window: timedelta
    downscale_stabilization_period: timedelta
    upscale_stabilization_period: timedelta
    max_downscale_factor: float
    max_upscale_factor: float
    downscale_tolerance: float
    upscale_tolerance: float


@dataclass(frozen=True, slots=True)
class UpdateStrategy:
    """How far a rolling update may stray from the number of replicas: `"5"` replicas, or `"25%"` of them."""

    max_surge: str
    max_unavailable: str

    @property
    def in_place(self) -> bool:
        """Whether no replica may be there in addition: an old one ends before its successor starts."""
        return self.max_surge.rstrip("%") == "0"


@dataclass(frozen=True, slots=True)
class Networking:
    """Where the API answers: a path with its leading slash and without a trailing one."""

    endpoint: str


@dataclass(frozen=True, slots=True)
class ApiSpec:
    """One API. Build it with `from_json` or `insula.project.cortex_yaml.load`, which check it."""

    name: str
    kind: str
    handler: Handler
    compute: Compute
    autoscaling: Autoscaling
    update_strategy: UpdateStrategy
    networking: Networking

    @property
    def queue_limit(self) -> int:
        """Workloads the API may hold before it answers RESOURCE_EXHAUSTED; never depends on the current replicas."""
        return self.autoscaling.max_replica_concurrency * max(1, self.autoscaling.max_replicas)

    def to_json(self) -> bytes:
        """Return the canonical JSON: equal specs give equal bytes, except that the order inside config is kept."""
        return json.dumps(_json_of(self), separators=(",", ":"), allow_nan=False).encode()

    @staticmethod
    def from_json(data: bytes) -> ApiSpec:
        """Return the spec in `data`. Raises ProjectInvalid, naming API and key, if it breaks a rule."""
        if len(data) > SPEC_BYTES_MAX:
            raise ProjectInvalid(f"an API's configuration must not be larger than {SPEC_BYTES_MAX} bytes of JSON")
        try:
            entry = parse_json(data)
        except Invalid as invalid:
            raise ProjectInvalid(f"the API's configuration {invalid}") from None
        return read_entry(entry, ())


def read_entry(entry: Node, source: tuple[str, ...], index: int = 0) -> ApiSpec:
    """Return the spec of one entry. Raises ProjectInvalid; its text starts with `source` and names the API."""
    try:
        _check_other_versions(entry)
        spec = _build(API.read(entry))
        rules.check_together(spec)
    except Invalid as invalid:
        raise ProjectInvalid(describe(invalid, ": ".join([*source, _title(entry, index)]), entry)) from None
    if len(spec.to_json()) > SPEC_BYTES_MAX:
        problem = f"must not be larger than {SPEC_BYTES_MAX} bytes as JSON; put what is large into a file"
        raise ProjectInvalid(": ".join([*source, _title(entry, index), "handler", "config", problem]))
    return spec


def _title(entry: Node, index: int) -> str:
    members = entry.value if isinstance(entry.value, dict) else {}
    name, kind = members.get("name", Node(None)).value, members.get("kind", Node(None)).value
    title = name if isinstance(name, str) and name.isprintable() and name else f"index {index}"
    return f"{title} ({kind})" if isinstance(kind, str) and kind.isprintable() else title


def _check_other_versions(entry: Node) -> None:
    """Refuse other kinds and types first: every key of theirs would be reported as unknown otherwise."""
    kind = locate(entry, ("kind",))
    if kind is not entry and kind.value is not None and kind.value != KIND:
        advice = other_versions.KINDS.get(str(kind.value), other_versions.ANOTHER_KIND)
        raise Invalid(
            f'invalid value (got {quote(kind)}, must be "{KIND}"); Insula runs {KIND} only: {advice}', ("kind",)
        )
    for section in ("handler", "predictor"):
        path = (section, "type")
        given = locate(entry, path)
        if isinstance(given.value, str) and given.value in other_versions.TYPES:
            problem = f'invalid value (got {quote(given)}, must be "python" or "tensorflow")'
            raise Invalid(f"{problem}; {other_versions.TYPES[given.value]}", path)


def _build(values: dict[str, object]) -> ApiSpec:
    """Return the dataclasses for what API.read returned; its keys are their fields."""
    handler = _section(values, "handler")
    # The order of variables means nothing, so it makes no new version.
    env = dict(sorted(cast("dict[str, str]", handler["env"]).items()))
    dependencies = _construct(Dependencies, handler["dependencies"])
    models = _models(_section(handler, "models")) if handler["models"] is not None else None
    autoscaling = _section(values, "autoscaling")
    if autoscaling["init_replicas"] is None:
        autoscaling["init_replicas"] = autoscaling["min_replicas"]
    networking = _section(values, "networking")
    networking["endpoint"] = rules.canonical_endpoint(cast("str | None", networking["endpoint"]), str(values["name"]))
    return ApiSpec(
        name=str(values["name"]),
        kind=str(values["kind"]),
        handler=_construct(Handler, {**handler, "dependencies": dependencies, "env": env, "models": models}),
        compute=_construct(Compute, values["compute"]),
        autoscaling=_construct(Autoscaling, autoscaling),
        update_strategy=_construct(UpdateStrategy, values["update_strategy"]),
        networking=_construct(Networking, networking),
    )


def _models(values: dict[str, object]) -> Models:
    paths = cast("tuple[dict[str, object], ...]", values["paths"])
    return _construct(Models, {**values, "paths": tuple(_construct(Model, each) for each in paths)})


def _section(values: dict[str, object], key: str) -> dict[str, object]:
    # The table of keys, not the type checker, says which key holds a section.
    return cast("dict[str, object]", values[key])


def _construct(make: Callable[..., _T], values: object) -> _T:
    return make(**cast("dict[str, object]", values))


def _json_of(value: object) -> Json:
    """Return the JSON form of a spec or of a part of it, in cortex.yaml's notation."""
    match value:
        case Quantity():
            return value.text
        case timedelta():
            return format_duration(value)
        case tuple():
            return [_json_of(item) for item in cast("tuple[object, ...]", value)]
        case _ if dataclasses.is_dataclass(value):
            members = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
            return {name: _json_of(member) for name, member in sorted(members.items())}
        case _:
            return cast("Json", value)
