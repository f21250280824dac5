"""What each key of cortex.yaml is for, in a line: shown by editors and in docs/cortex-yaml.md."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "name": "Name of the API, unique in the installation; other handlers reach it at `http://api-<name>:8888/`.",
        "kind": "What the entry describes; Insula runs this kind only.",
        "handler": "The user's class and what it needs around it.",
        "handler.type": "`tensorflow` gives the constructor a `tensorflow_client` for the SavedModels in `models`.",
        "handler.path": "File that defines the class Handler, or a `.pickle` that holds a class pickled with dill.",
        "handler.dependencies": "Files that say what to install, in the order shell, conda, pip.",
        "handler.dependencies.pip": "What `pip install -r` gets; lines may name packages inside the project.",
        "handler.dependencies.conda": "What `conda install --file` gets.",
        "handler.dependencies.shell": "Script that `bash -e` runs in the project directory before the others install.",
        "handler.config": "Handed to the constructor as `config`.",
        "handler.python_path": "Folder that takes the project directory's place on `sys.path`.",
        "handler.image": "Container image of the worker, on Kubernetes.",
        "handler.env": "Environment variables of the handler; those in `.env` win.",
        "handler.log_level": "Least severe level that the handler's log shows.",
        "handler.shm_size": "Size of /dev/shm, on Kubernetes.",
        "handler.models": "SavedModels in S3, or folders of their versions: exactly one of `path`, `paths` and `dir`.",
        "handler.models.path": "The only model.",
        "handler.models.paths": "Several models, each with its name.",
        "handler.models.paths.name": "Name that `tensorflow_client.predict` takes.",
        "handler.models.paths.path": "The model.",
        "handler.models.paths.signature_key": "Signature of this model to call, if it has more than one.",
        "handler.models.dir": "Every folder directly below it is a model, named after the folder.",
        "handler.models.signature_key": "Signature to call of each model that has more than one.",
        "handler.tensorflow_serving_image": "Accepted for Cortex' sake; models are served by the worker itself.",
        "compute": "What one replica asks of its machine, on Kubernetes.",
        "compute.cpu": "CPU request of one replica.",
        "compute.mem": "Memory of one replica; a workload that takes the handler beyond it fails. Null is no limit.",
        "compute.gpu": "GPUs of one replica.",
        "compute.inf": "Inferentia chips of one replica.",
        "compute.node_groups": "Node groups the replicas may run on; empty means any.",
        "autoscaling": "How many replicas, and when.",
        "autoscaling.min_replicas": "Fewest replicas; 0 lets an idle API stop its last one.",
        "autoscaling.max_replicas": "Most replicas.",
        "autoscaling.init_replicas": "Replicas to start with; `min_replicas` if left out.",
        "autoscaling.max_replica_concurrency": "Workloads the queue takes for each of `max_replicas`; more get a 429.",
        "autoscaling.target_replica_concurrency": "Workloads, waiting and running, that one replica should have.",
        "autoscaling.window": "Time over which the workloads in flight are averaged.",
        "autoscaling.downscale_stabilization_period": "Never below the highest recommendation of this time.",
        "autoscaling.upscale_stabilization_period": "Never above the lowest recommendation of this time.",
        "autoscaling.max_downscale_factor": "Least share of the replicas that one step down leaves.",
        "autoscaling.max_upscale_factor": "Most that one step up multiplies the replicas by.",
        "autoscaling.downscale_tolerance": "How far below the current count a recommendation may lie without effect.",
        "autoscaling.upscale_tolerance": "How far above the current count a recommendation may lie without effect.",
        "update_strategy": "How a new version replaces the old one.",
        "update_strategy.max_surge": "Replicas there may be in addition during an update; 0: the old one ends first.",
        "update_strategy.max_unavailable": "Replicas that may be missing during an update.",
        "networking": "Where the API answers.",
        "networking.endpoint": "Path of the API, unique in the installation; `/<name>` if left out.",
    }
)
