"""Every key of one API's entry in cortex.yaml, with its default and its bounds.

This table is the only place that knows them; what one key has to do with another is in `insula.project.rules`.
The keys are those of Cortex' AsyncAPI 0.35, with `min_replicas: 0` from 0.42.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from insula.project.fields import Amount, Duration, Integer, Number, RelativePath, Share, Text
from insula.project.other_versions import (
    API_KEYS,
    AUTOSCALING_KEYS,
    COMPUTE_KEYS,
    HANDLER_KEYS,
    MODELS_KEYS,
    NETWORKING_KEYS,
)
from insula.project.sections import Environment, FreeForm, Section, Sections, Texts
from insula.project.units import Quantity

KIND: Final = "AsyncAPI"
NAME: Final = Text(
    required=True,
    characters_max=42,
    pattern=r"[a-z]([-a-z0-9]*[a-z0-9])?",
    rule="must consist of lower-case letters, digits and dashes, start with a letter and not end with a dash",
)
ENDPOINT: Final = Text(
    characters_max=512,
    pattern=r"[a-zA-Z0-9_\-./]*",
    rule="must consist of letters, digits, and the characters _ - . /",
)
MODEL_LOCATION: Final = Text(pattern=r"s3://[^/]+(/.*)?", rule='must be an S3 path such as "s3://my-bucket/models/"')
MODEL_NAME: Final = Text(
    required=True,
    pattern=r"[-_.a-zA-Z0-9]+",
    rule="must consist of letters, digits, dashes, underscores and dots",
)

MODEL: Final = Section(
    {
        "name": MODEL_NAME,
        "path": Text(required=True, pattern=MODEL_LOCATION.pattern, rule=MODEL_LOCATION.rule),
        "signature_key": Text(),
    }
)

HANDLER: Final = Section(
    {
        "type": Text(required=True, choices=("python", "tensorflow")),
        "path": RelativePath(required=True),
        "dependencies": Section(
            {
                "pip": RelativePath("requirements.txt"),
                "conda": RelativePath("conda-packages.txt"),
                "shell": RelativePath("dependencies.sh"),
            }
        ),
        "config": FreeForm(),
        "python_path": RelativePath(),
        "image": Text(),
        "env": Environment(),
        "log_level": Text("info", choices=("debug", "info", "warning", "error")),
        "shm_size": Amount(),
        "models": Section(
            {"path": MODEL_LOCATION, "paths": Sections(MODEL), "dir": MODEL_LOCATION, "signature_key": Text()},
            optional=True,
            elsewhere=MODELS_KEYS,
        ),
        "tensorflow_serving_image": Text(),
    },
    required=True,
    elsewhere=HANDLER_KEYS,
    # Cortex knew them for its other kinds, and accepted them of an AsyncAPI with the value it has anyway.
    fixed={"processes_per_replica": 1, "threads_per_process": 1, "protobuf_path": None, "server_side_batching": None},
)

COMPUTE: Final = Section(
    {
        "cpu": Amount(Quantity("200m"), minimum=Quantity("20m")),
        "mem": Amount(minimum=Quantity("20Mi")),
        "gpu": Integer(0),
        "inf": Integer(0),
        "node_groups": Texts(),
    },
    elsewhere=COMPUTE_KEYS,
)

AUTOSCALING: Final = Section(
    {
        "min_replicas": Integer(1),
        "max_replicas": Integer(100, minimum=1),
        "init_replicas": Integer(),
        "max_replica_concurrency": Integer(1024, minimum=1, maximum=30_000),
        "target_replica_concurrency": Number(1.0, above=0),
        "window": Duration(timedelta(seconds=60), minimum=timedelta(seconds=10), multiple_of=timedelta(seconds=10)),
        "downscale_stabilization_period": Duration(timedelta(minutes=5)),
        "upscale_stabilization_period": Duration(timedelta(minutes=1)),
        "max_downscale_factor": Number(0.75, minimum=0, below=1),
        "max_upscale_factor": Number(1.5, above=1),
        "downscale_tolerance": Number(0.05, minimum=0),
        "upscale_tolerance": Number(0.05, minimum=0),
    },
    elsewhere=AUTOSCALING_KEYS,
)

API: Final = Section(
    {
        "name": NAME,
        "kind": Text(required=True, choices=(KIND,)),
        "handler": HANDLER,
        "compute": COMPUTE,
        "autoscaling": AUTOSCALING,
        "update_strategy": Section({"max_surge": Share("25%"), "max_unavailable": Share("25%")}),
        "networking": Section({"endpoint": ENDPOINT}, elsewhere=NETWORKING_KEYS),
    },
    elsewhere=API_KEYS,
)
