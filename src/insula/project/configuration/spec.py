"""The keys of one API in cortex.yaml, as dataclasses. The keys are defined only here.

A field defines a key's type, kind with bounds, meaning and default. The reader, the JSON Schema and the reference in
docs/ are made from the fields. The keys are those of Cortex' AsyncAPI 0.35, with `min_replicas: 0` from 0.42.
`insula.project.configuration.rules` has the rules that concern several keys.

`ApiSpec.from_json` applies the same rules to a spec from a request as to a file, so no other code checks a spec again.
The JSON has the keys of cortex.yaml in alphabetical order; only `handler.config` keeps the order of the file.
"""
# No `from __future__ import annotations`: this module's annotations are read at run time.

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
# Keys of Cortex' other kinds. For an AsyncAPI, Cortex accepted them without a value only.
_HANDLER_EMPTY: Final = frozenset({"protobuf_path", "server_side_batching"})
# Keys that were added later. The canonical JSON lacks them at their default, so that a configuration without them keeps
# the version that it had before.
_ADDED: Final = frozenset(
    {"processes_per_replica", "threads_per_process", "max_requests_per_process", "max_memory_per_process"}
)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Files that define what to install. They are used in the order shell, conda, pip."""

    pip: Annotated[
        str, PATH, "Requirements file for pip; a line may name a package of the project, such as `./mylib`."
    ] = "requirements.txt"
    conda: Annotated[str, PATH, "Packages for `conda install --file`."] = "conda-packages.txt"
    shell: Annotated[str, PATH, "Script that `bash -e` runs in the project directory before the others install."] = (
        "dependencies.sh"
    )


@dataclass(frozen=True, slots=True)
class Model:
    """One named SavedModel."""

    name: Annotated[str, _MODEL_NAME, "Name of the model for `tensorflow_client.predict`."]
    path: Annotated[str, _S3_PATH, "The model."]
    signature_key: Annotated[str | None, text(), "Signature to call, if the model has several."] = None


@dataclass(frozen=True, slots=True)
class Models:
    """SavedModels of TensorFlow in S3, or folders of their versions. Set exactly one of `path`, `paths` and `dir`."""

    path: Annotated[str | None, _S3_PATH, "The only model."] = None
    paths: Annotated[tuple[Model, ...], sections(section(Model)), "Several models, each with its name."] = ()
    dir: Annotated[
        str | None, _S3_PATH, "Every folder directly below this path is a model, named after the folder."
    ] = None
    signature_key: Annotated[str | None, text(), "Signature to call, for each model that has several."] = None


@dataclass(frozen=True, slots=True)
class Handler:
    """The user's class, its packages and its variables."""

    type: Annotated[
        str,
        choice("python", "tensorflow"),
        "`tensorflow` gives the constructor a `tensorflow_client` for the SavedModels in `models`.",
    ]
    path: Annotated[str, PATH, "File with the class `Handler`, or a `.pickle` file with a class that dill pickled."]
    dependencies: Annotated[Dependencies, section(Dependencies), Dependencies.__doc__] = Dependencies()
    config: Annotated[Mapping[str, Json], CONFIG, "Passed to the constructor as `config`."] = field(
        default_factory=dict[str, Json], hash=False
    )
    python_path: Annotated[str | None, PATH, "Folder on `sys.path` in place of the project directory."] = None
    image: Annotated[
        str | None,
        text(),
        "On Kubernetes, the container image of the worker, with a tag or a digest. It must be built from Insula's. By "
        "default it is the one that `insula build` makes.",
        NO_EFFECT,
    ] = None
    env: Annotated[Mapping[str, str], ENVIRONMENT, "Environment variables of the handler. `.env` overrides them."] = (
        field(default_factory=dict[str, str], hash=False)
    )
    processes_per_replica: Annotated[
        int, integer(1, 100), "Handler processes of one worker; each calls the constructor once."
    ] = 1
    threads_per_process: Annotated[
        int,
        integer(1, 512),
        "Workloads that one process runs at a time: each in a thread of its own or, with an `async def handle_async`, "
        "on the process's event loop.",
    ] = 1
    max_requests_per_process: Annotated[
        int | None, integer(1), "A process that has run this many workloads is replaced when it is idle."
    ] = None
    max_memory_per_process: Annotated[
        Quantity | None,
        amount("20Mi", "quantity of bytes, such as `512Mi` or `2Gi`"),
        "A process that holds more memory after a workload is replaced when it is idle. Must be less than "
        "`compute.mem`.",
    ] = None
    log_level: Annotated[
        str,
        choice("debug", "info", "warning", "error"),
        "Least severe level in the handler's log; on Kubernetes also in the worker's.",
    ] = "info"
    shm_size: Annotated[
        Quantity | None,
        amount(words="quantity of bytes, such as `512Mi` or `2Gi`"),
        "On Kubernetes, the size of /dev/shm, a volume in memory. It raises the memory limit of the container.",
        NO_EFFECT,
    ] = None
    models: Annotated[Models | None, section(Models, other_versions.MODELS_KEYS), Models.__doc__] = None
    tensorflow_serving_image: Annotated[
        str | None, text(), "Accepted for Cortex' sake: models run in the handler process.", NO_EFFECT
    ] = None


@dataclass(frozen=True, slots=True)
class Compute:
    """Resources of one replica, for all its processes. On one machine, only `mem`, `gpu` and `inf` have an effect."""

    cpu: Annotated[
        Quantity,
        amount("20m", "quantity of cores, such as `200m` or `1.5`"),
        "On Kubernetes, the CPU request of one replica. Its limit is the next whole number of cores.",
        NO_EFFECT,
    ] = field(default=Quantity("200m"))
    mem: Annotated[
        Quantity | None,
        amount("20Mi", "quantity of bytes, such as `512Mi` or `2Gi`"),
        "Memory of the handler's processes. A workload that takes more fails with `MEMORY_LIMIT`. Not enforced for a "
        "handler that takes more before its first workload. On Kubernetes also the memory request; the limit of the "
        "container has room for two handlers and the worker.",
    ] = None
    gpu: Annotated[
        int,
        integer(),
        "GPUs of one replica. Each handler process gets its own if there are enough. On Kubernetes, the devices "
        "`nvidia.com/gpu`.",
    ] = 0
    inf: Annotated[
        int,
        integer(),
        "Neuron devices of one replica. Each handler process gets cores of its own if there are enough. On Kubernetes, "
        "the devices `aws.amazon.com/neuron`.",
    ] = 0
    node_groups: Annotated[
        tuple[str, ...],
        TEXTS,
        "On Kubernetes, the replicas run on nodes whose label `insula/node-group` has one of these values; empty means "
        "any node.",
        NO_EFFECT,
    ] = ()


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """Number of replicas, and limit of the queue."""

    min_replicas: Annotated[int, integer(), "Fewest replicas; 0 lets an idle API stop its last one.", NO_EFFECT] = 1
    max_replicas: Annotated[
        int, integer(1), "Most replicas. On one machine it only counts for the limit of the queue."
    ] = 100
    # None only until `rules.completed`.
    init_replicas: Annotated[
        int | None,
        integer(),
        "Replicas to start with; `min_replicas` if left out. On Kubernetes with `insula render --initial`, or without "
        "KEDA.",
        NO_EFFECT,
    ] = None
    max_replica_concurrency: Annotated[
        int, integer(1, 30_000), "The queue takes this number times `max_replicas` workloads; more get 429."
    ] = 1024
    # None only until `rules.completed`.
    target_replica_concurrency: Annotated[
        float | None,
        number(above=0),
        "Workloads, waiting and running, that one replica should have. By default as many as it runs at a time, "
        "`processes_per_replica` times `threads_per_process`.",
        NO_EFFECT,
    ] = None
    window: Annotated[
        timedelta,
        duration(minimum=timedelta(seconds=10), multiple_of=timedelta(seconds=10)),
        "Time over which the workloads in flight are averaged.",
        NO_EFFECT,
    ] = timedelta(seconds=60)
    downscale_stabilization_period: Annotated[
        timedelta,
        duration(),
        "The autoscaler does not go below the highest number of replicas that the load called for during this time.",
        NO_EFFECT,
    ] = timedelta(minutes=5)
    upscale_stabilization_period: Annotated[
        timedelta,
        duration(),
        "The autoscaler does not go above the lowest number of replicas that the load called for during this time.",
        NO_EFFECT,
    ] = timedelta(minutes=1)
    max_downscale_factor: Annotated[
        float, number(0, below=1), "One step down keeps at least this share of the replicas.", NO_EFFECT
    ] = 0.75
    max_upscale_factor: Annotated[
        float, number(above=1), "One step up multiplies the replicas by at most this factor.", NO_EFFECT
    ] = 1.5
    downscale_tolerance: Annotated[
        float,
        number(0),
        "A recommendation that is below the count by at most this share has no effect. On Kubernetes with "
        "`insula render --tolerance`; otherwise the share is that of the cluster, 10 %.",
        NO_EFFECT,
    ] = 0.05
    upscale_tolerance: Annotated[
        float,
        number(0),
        "A recommendation that is above the count by at most this share has no effect. On Kubernetes with "
        "`insula render --tolerance`; otherwise the share is that of the cluster, 10 %.",
        NO_EFFECT,
    ] = 0.05

    @property
    def target(self) -> float:
        """The `target_replica_concurrency`, or 1.0 if `rules.completed` has not set it yet."""
        return self.target_replica_concurrency or 1.0


@dataclass(frozen=True, slots=True)
class UpdateStrategy:
    """How a new version replaces the old one."""

    max_surge: Annotated[
        str,
        SHARE,
        "Additional replicas during an update. With 0, the old handler process ends before the new one starts.",
    ] = "25%"
    max_unavailable: Annotated[str, SHARE, "Replicas that may be missing during an update.", NO_EFFECT] = "25%"

    @property
    def in_place(self) -> bool:
        """Whether an update starts no additional replica: an old replica ends before its successor starts."""
        return self.max_surge.rstrip("%") == "0"


@dataclass(frozen=True, slots=True)
class Networking:
    """The address of the API."""

    # Empty only until `rules.completed`; then with its leading slash and without a trailing one.
    endpoint: Annotated[str, _ENDPOINT, "Path of the API, unique in the stack."] = ""


@dataclass(frozen=True, slots=True)
class ApiSpec:
    """One API. Make it with `from_json` or `insula.project.configuration.cortex_yaml.load`, which check it."""

    name: Annotated[
        str, _NAME, "Name of the API, unique in the stack; other handlers reach it at `http://api-<name>:8888/`."
    ]
    kind: Annotated[str, choice(KIND), "Kind of the API; Insula runs only this kind."]
    handler: Annotated[Handler, section(Handler, other_versions.HANDLER_KEYS, _HANDLER_EMPTY), Handler.__doc__]
    compute: Annotated[Compute, section(Compute, other_versions.COMPUTE_KEYS), Compute.__doc__] = Compute()
    autoscaling: Annotated[Autoscaling, section(Autoscaling, other_versions.AUTOSCALING_KEYS), Autoscaling.__doc__] = (
        Autoscaling()
    )
    update_strategy: Annotated[UpdateStrategy, section(UpdateStrategy), UpdateStrategy.__doc__] = UpdateStrategy()
    networking: Annotated[Networking, section(Networking, other_versions.NETWORKING_KEYS), Networking.__doc__] = (
        Networking()
    )

    @property
    def slots(self) -> int:
        """Workloads that one worker runs at a time."""
        return self.handler.processes_per_replica * self.handler.threads_per_process

    @property
    def queue_limit(self) -> int:
        """Most workloads that wait or run; further submits get RESOURCE_EXHAUSTED. Independent of current replicas."""
        return self.autoscaling.max_replica_concurrency * max(1, self.autoscaling.max_replicas)

    def to_json(self) -> bytes:
        """Return the canonical JSON. Equal specs give equal bytes if the keys of their `config` have the same order."""
        return json.dumps(_json_of(self), separators=(",", ":"), allow_nan=False).encode()

    @staticmethod
    def from_json(data: bytes) -> "ApiSpec":
        """Return the spec in `data`. Raises ProjectInvalid, with the names of API and key, if it breaks a rule."""
        if len(data) > SPEC_BYTES_MAX:
            raise ProjectInvalid(f"an API's configuration must not be larger than {SPEC_BYTES_MAX} bytes of JSON")
        try:
            entry = parse_json(data)
        except Invalid as invalid:
            raise ProjectInvalid(f"the API's configuration {invalid}") from None
        return read_entry(entry, ())


API: Final = section(ApiSpec, other_versions.API_KEYS)


def read_entry(entry: Node, source: tuple[str, ...], index: int = 0) -> ApiSpec:
    """Return the spec of one entry. Raises ProjectInvalid with a text that starts with `source` and names the API."""
    try:
        _check_other_versions(entry)
        spec = rules.completed(API.read(entry))
    except Invalid as invalid:
        raise ProjectInvalid(describe(invalid, ": ".join([*source, _title(entry, index)]), entry)) from None
    if len(spec.to_json()) > SPEC_BYTES_MAX:
        problem = f"must not be larger than {SPEC_BYTES_MAX} bytes as JSON; put large values into a file"
        raise ProjectInvalid(": ".join([*source, _title(entry, index), "handler", "config", problem]))
    return spec


def _title(entry: Node, index: int) -> str:
    members = entry.value if isinstance(entry.value, dict) else {}
    name, kind = members.get("name", Node(None)).value, members.get("kind", Node(None)).value
    title = name if isinstance(name, str) and name.isprintable() and name else f"index {index}"
    return f"{title} ({kind})" if isinstance(kind, str) and kind.isprintable() else title


def _check_other_versions(entry: Node) -> None:
    """Raise Invalid for another kind of API or type of handler, before their keys are reported as unknown."""
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
    """Return a spec, or a part of it, as JSON in the notation of cortex.yaml."""
    match value:
        case Quantity():
            return value.text
        case timedelta():
            return format_duration(value)
        case tuple():
            return [_json_of(item) for item in cast("tuple[object, ...]", value)]
        case _ if dataclasses.is_dataclass(value):
            members = {each.name: (getattr(value, each.name), each.default) for each in dataclasses.fields(value)}
            return {
                name: _json_of(member)
                for name, (member, default) in sorted(members.items())
                if name not in _ADDED or member != default
            }
        case _:
            return cast("Json", value)
