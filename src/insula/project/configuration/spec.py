"""One API as its entry in cortex.yaml describes it. These dataclasses are the one place that knows its keys.

A field says a key's type, kind with bounds, meaning and default; the reader, the JSON Schema and the reference in docs/
are made from them. The keys are those of Cortex' AsyncAPI 0.35, with `min_replicas: 0` from 0.42. How two keys depend
on each other is in `insula.project.configuration.rules`.

`ApiSpec.from_json` holds a spec that came over the wire to the same rules as a file, so nothing downstream
checks again. The JSON has the keys of cortex.yaml, sorted; only `handler.config` keeps the order it was written in.
"""
# Annotations are values here, so there is no `from __future__ import annotations`.

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Final, cast

from insula.errors import ProjectInvalid
from insula.project.configuration import other_versions, rules
from insula.project.configuration.kinds import (
    CONFIG,
    ENVIRONMENT,
    PATH,
    SHARE,
    TEXTS,
    amount,
    choice,
    duration,
    integer,
    number,
    text,
)
from insula.project.configuration.sections import NO_EFFECT, section, sections
from insula.project.configuration.tree import Invalid, Json, Node, describe, locate, parse_json, quote
from insula.project.configuration.units import Quantity, format_duration

SPEC_BYTES_MAX: Final = 2**20
KIND: Final = "AsyncAPI"
_NAME: Final = text(
    characters_max=42,
    pattern=r"[a-z]([-a-z0-9]*[a-z0-9])?",
    rule="must consist of lower-case letters, digits and dashes, start with a letter and not end with a dash",
)
_ENDPOINT: Final = text(
    characters_max=512,
    pattern=r"[a-zA-Z0-9_\-./]*",
    rule="must consist of letters, digits, and the characters _ - . /",
)
_MODEL_NAME: Final = text(
    pattern=r"[-_.a-zA-Z0-9]+", rule="must consist of letters, digits, dashes, underscores and dots"
)
_S3_PATH: Final = text(pattern=r"s3://[^/]+(/.*)?", rule='must be an S3 path such as "s3://my-bucket/models/"')
# Cortex knew them for its other kinds, and accepted them of an AsyncAPI with the value it has anyway.
_HANDLER_FIXED: Final[Mapping[str, Json]] = {
    "processes_per_replica": 1,
    "threads_per_process": 1,
    "protobuf_path": None,
    "server_side_batching": None,
}


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Files that say what to install, in the order shell, conda, pip."""

    pip: Annotated[str, PATH, "What `pip install -r` gets; lines may name packages inside the project."] = (
        "requirements.txt"
    )
    conda: Annotated[str, PATH, "What `conda install --file` gets."] = "conda-packages.txt"
    shell: Annotated[str, PATH, "Script that `bash -e` runs in the project directory before the others install."] = (
        "dependencies.sh"
    )


@dataclass(frozen=True, slots=True)
class Model:
    """One named SavedModel."""

    name: Annotated[str, _MODEL_NAME, "Name that `tensorflow_client.predict` takes."]
    path: Annotated[str, _S3_PATH, "The model."]
    signature_key: Annotated[str | None, text(), "Signature of this model to call, if it has more than one."] = None


@dataclass(frozen=True, slots=True)
class Models:
    """SavedModels in S3, or folders of their versions: exactly one of `path`, `paths` and `dir`."""

    path: Annotated[str | None, _S3_PATH, "The only model."] = None
    paths: Annotated[tuple[Model, ...], sections(section(Model)), "Several models, each with its name."] = ()
    dir: Annotated[str | None, _S3_PATH, "Every folder directly below it is a model, named after the folder."] = None
    signature_key: Annotated[str | None, text(), "Signature to call of each model that has more than one."] = None


@dataclass(frozen=True, slots=True)
class Handler:
    """The user's class and what it needs around it."""

    type: Annotated[
        str,
        choice("python", "tensorflow"),
        "`tensorflow` gives the constructor a `tensorflow_client` for the SavedModels in `models`.",
    ]
    path: Annotated[
        str, PATH, "File that defines the class Handler, or a `.pickle` that holds a class pickled with dill."
    ]
    dependencies: Annotated[Dependencies, section(Dependencies), Dependencies.__doc__] = Dependencies()
    config: Annotated[Mapping[str, Json], CONFIG, "Handed to the constructor as `config`."] = field(
        default_factory=dict[str, Json], hash=False
    )
    python_path: Annotated[str | None, PATH, "Folder that takes the project directory's place on `sys.path`."] = None
    image: Annotated[str | None, text(), "Container image of the worker, on Kubernetes.", NO_EFFECT] = None
    env: Annotated[Mapping[str, str], ENVIRONMENT, "Environment variables of the handler; those in `.env` win."] = (
        field(default_factory=dict[str, str], hash=False)
    )
    log_level: Annotated[
        str, choice("debug", "info", "warning", "error"), "Least severe level that the handler's log shows."
    ] = "info"
    shm_size: Annotated[Quantity | None, amount(), "Size of /dev/shm, on Kubernetes.", NO_EFFECT] = None
    models: Annotated[Models | None, section(Models, other_versions.MODELS_KEYS), Models.__doc__] = None
    tensorflow_serving_image: Annotated[
        str | None, text(), "Accepted for Cortex' sake; models are served by the worker itself.", NO_EFFECT
    ] = None


@dataclass(frozen=True, slots=True)
class Compute:
    """What one replica asks of its machine, on Kubernetes."""

    cpu: Annotated[Quantity, amount("20m"), "CPU request of one replica.", NO_EFFECT] = field(default=Quantity("200m"))
    mem: Annotated[
        Quantity | None,
        amount("20Mi"),
        "Memory of one replica; a workload that takes the handler beyond it fails. Null means no limit.",
    ] = None
    gpu: Annotated[int, integer(), "GPUs of one replica.", NO_EFFECT] = 0
    inf: Annotated[int, integer(), "Inferentia chips of one replica.", NO_EFFECT] = 0
    node_groups: Annotated[
        tuple[str, ...], TEXTS, "Node groups the replicas may run on; empty means any.", NO_EFFECT
    ] = ()


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """How many replicas, and when."""

    min_replicas: Annotated[int, integer(), "Fewest replicas; 0 lets an idle API stop its last one.", NO_EFFECT] = 1
    max_replicas: Annotated[int, integer(1), "Most replicas."] = 100
    # None only until `rules.completed`.
    init_replicas: Annotated[
        int | None, integer(), "Replicas to start with; `min_replicas` if left out.", NO_EFFECT
    ] = None
    max_replica_concurrency: Annotated[
        int, integer(1, 30_000), "Workloads the queue takes for each of `max_replicas`; more get a 429."
    ] = 1024
    target_replica_concurrency: Annotated[
        float, number(above=0), "Workloads, waiting and running, that one replica should have.", NO_EFFECT
    ] = 1.0
    window: Annotated[
        timedelta,
        duration(minimum=timedelta(seconds=10), multiple_of=timedelta(seconds=10)),
        "Time over which the workloads in flight are averaged.",
        NO_EFFECT,
    ] = timedelta(seconds=60)
    downscale_stabilization_period: Annotated[
        timedelta, duration(), "Never below the highest recommendation of this time.", NO_EFFECT
    ] = timedelta(minutes=5)
    upscale_stabilization_period: Annotated[
        timedelta, duration(), "Never above the lowest recommendation of this time.", NO_EFFECT
    ] = timedelta(minutes=1)
    max_downscale_factor: Annotated[
        float, number(0, below=1), "Least share of the replicas that one step down leaves.", NO_EFFECT
    ] = 0.75
    max_upscale_factor: Annotated[
        float, number(above=1), "Most that one step up multiplies the replicas by.", NO_EFFECT
    ] = 1.5
    downscale_tolerance: Annotated[
        float, number(0), "How far below the current count a recommendation may lie without effect.", NO_EFFECT
    ] = 0.05
    upscale_tolerance: Annotated[
        float, number(0), "How far above the current count a recommendation may lie without effect.", NO_EFFECT
    ] = 0.05


@dataclass(frozen=True, slots=True)
class UpdateStrategy:
    """How a new version replaces the old one."""

    max_surge: Annotated[
        str, SHARE, "Replicas there may be in addition during an update; 0: the old one ends first."
    ] = "25%"
    max_unavailable: Annotated[str, SHARE, "Replicas that may be missing during an update.", NO_EFFECT] = "25%"

    @property
    def in_place(self) -> bool:
        """Whether no replica may be there in addition: an old one ends before its successor starts."""
        return self.max_surge.rstrip("%") == "0"


@dataclass(frozen=True, slots=True)
class Networking:
    """Where the API answers."""

    # Empty only until `rules.completed`; then with its leading slash and without a trailing one.
    endpoint: Annotated[str, _ENDPOINT, "Path of the API, unique in the installation; `/<name>` if left out."] = ""


@dataclass(frozen=True, slots=True)
class ApiSpec:
    """One API. Build it with `from_json` or `insula.project.configuration.cortex_yaml.load`, which check it."""

    name: Annotated[
        str, _NAME, "Name of the API, unique in the installation; other handlers reach it at `http://api-<name>:8888/`."
    ]
    kind: Annotated[str, choice(KIND), "What the entry describes; Insula runs this kind only."]
    handler: Annotated[Handler, section(Handler, other_versions.HANDLER_KEYS, _HANDLER_FIXED), Handler.__doc__]
    compute: Annotated[Compute, section(Compute, other_versions.COMPUTE_KEYS), Compute.__doc__] = Compute()
    autoscaling: Annotated[Autoscaling, section(Autoscaling, other_versions.AUTOSCALING_KEYS), Autoscaling.__doc__] = (
        Autoscaling()
    )
    update_strategy: Annotated[UpdateStrategy, section(UpdateStrategy), UpdateStrategy.__doc__] = UpdateStrategy()
    networking: Annotated[Networking, section(Networking, other_versions.NETWORKING_KEYS), Networking.__doc__] = (
        Networking()
    )

    @property
    def queue_limit(self) -> int:
        """Workloads the API may hold before it answers RESOURCE_EXHAUSTED; never depends on the current replicas."""
        return self.autoscaling.max_replica_concurrency * max(1, self.autoscaling.max_replicas)

    def to_json(self) -> bytes:
        """Return the canonical JSON: equal specs give equal bytes, except that the order inside config is kept."""
        return json.dumps(_json_of(self), separators=(",", ":"), allow_nan=False).encode()

    @staticmethod
    def from_json(data: bytes) -> "ApiSpec":
        """Return the spec in `data`. Raises ProjectInvalid, naming API and key, if it breaks a rule."""
        if len(data) > SPEC_BYTES_MAX:
            raise ProjectInvalid(f"an API's configuration must not be larger than {SPEC_BYTES_MAX} bytes of JSON")
        try:
            entry = parse_json(data)
        except Invalid as invalid:
            raise ProjectInvalid(f"the API's configuration {invalid}") from None
        return read_entry(entry, ())


API: Final = section(ApiSpec, other_versions.API_KEYS)


def read_entry(entry: Node, source: tuple[str, ...], index: int = 0) -> ApiSpec:
    """Return the spec of one entry. Raises ProjectInvalid; its text starts with `source` and names the API."""
    try:
        _check_other_versions(entry)
        spec = rules.completed(API.read(entry))
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
    for place in ("handler", "predictor"):
        path = (place, "type")
        given = locate(entry, path)
        if isinstance(given.value, str) and given.value in other_versions.TYPES:
            problem = f'invalid value (got {quote(given)}, must be "python" or "tensorflow")'
            raise Invalid(f"{problem}; {other_versions.TYPES[given.value]}", path)


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
