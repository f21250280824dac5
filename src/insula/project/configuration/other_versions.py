"""Keys and names from other versions of Cortex, each with advice on what to use. Insula has the names of Cortex 0.35.

The advice is the end of an error text, after the refused name and a colon.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_Names = Mapping[str, str]
_HANDLER: Final = "since Cortex 0.35 it is called handler"
_MONITORING: Final = "Cortex dropped it; push metrics with the metrics_client of the constructor"
_PYTHON_TYPE: Final = "it is handler with type: python since Cortex 0.35"


def _moved(place: str) -> str:
    return f"it is {place} since Cortex 0.35"


API_KEYS: Final[_Names] = MappingProxyType({
    "predictor": _HANDLER,
    "python": _PYTHON_TYPE,
    "tensorflow": "it is handler with type: tensorflow since Cortex 0.35",
    "onnx": f"{_PYTHON_TYPE}, and onnxruntime in requirements.txt",
    "python_path": _moved("handler.python_path"),
    "endpoint": _moved("networking.endpoint"),
    "local_port": "Insula serves all APIs on one port, which `insula up --public-port` chooses",
    "metadata": _moved("handler.config"),
    "monitoring": _MONITORING,
    "tracker": _MONITORING,
    "definition": "a TaskAPI has it; an AsyncAPI has handler",
    "apis": "a TrafficSplitter has it; Insula has none",
    "pod": "Cortex 0.36 and later run containers; Insula runs a handler, as 0.35 did",
})  # fmt: skip
HANDLER_KEYS: Final[_Names] = MappingProxyType({
    "predictor": _moved("handler.path"),
    "inference": _moved("handler.path"),
    "request_handler": _moved("handler.path"),
    "model": _moved("handler.models.path"),
    "model_path": _moved("handler.models.path"),
    "signature_key": _moved("handler.models.signature_key"),
    "multi_model_reloading": "an AsyncAPI has none; load the models in the constructor, or use type: tensorflow",
})  # fmt: skip
MODELS_KEYS: Final[_Names] = MappingProxyType(
    dict.fromkeys(("cache_size", "disk_cache_size"), "an AsyncAPI has none; it keeps all its models in memory")
)
COMPUTE_KEYS: Final[_Names] = MappingProxyType({
    **{key: _moved(f"autoscaling.{key}") for key in ("min_replicas", "max_replicas", "init_replicas")},
    **{key: _moved(f"update_strategy.{key}") for key in ("max_surge", "max_unavailable")},
    "target_cpu_utilization": _moved("autoscaling.target_replica_concurrency"),
})  # fmt: skip
AUTOSCALING_KEYS: Final[_Names] = MappingProxyType({
    "workers_per_replica": _moved("handler.processes_per_replica"),
    "threads_per_worker": _moved("handler.threads_per_process"),
    "target_queue_length": _moved("autoscaling.target_replica_concurrency"),
    "target_in_flight": "in Cortex 0.35 it is target_replica_concurrency",
    "max_concurrency": "in Cortex 0.35 it is max_replica_concurrency",
    "max_queue_length": "in Cortex 0.35 it is max_replica_concurrency",
})  # fmt: skip
NETWORKING_KEYS: Final[_Names] = MappingProxyType({
    "api_gateway": "Cortex dropped it; Insula has one gateway for all APIs",
    "local_port": API_KEYS["local_port"],
})  # fmt: skip

KINDS: Final[_Names] = MappingProxyType({
    **dict.fromkeys(
        ("RealtimeAPI", "SyncAPI", "api"),
        "make it an AsyncAPI, whose handle_async does what predict or handle_post did, and whose callers get an id",
    ),
    "BatchAPI": "make it an AsyncAPI, and submit each item of a batch to it",
    "TaskAPI": "make it an AsyncAPI, whose handle_async does what __call__ did",
    **dict.fromkeys(("TrafficSplitter", "APISplitter"), "leave this entry out, and call the APIs by their own names"),
    "deployment": "leave this entry out; Cortex needs none since 0.13",
})  # fmt: skip
ANOTHER_KIND: Final = "leave this entry out, or make it an AsyncAPI"
TYPES: Final[_Names] = MappingProxyType(
    {"onnx": "Cortex 0.35 dropped it; use type: python, and put onnxruntime into requirements.txt"}
)

CLASSES: Final = ("PythonPredictor", "TensorFlowPredictor", "ONNXPredictor", "Predictor")
CLASS_ADVICE: Final = "since Cortex 0.35 it is called Handler, and its method predict is called handle_async"
METHODS: Final[_Names] = MappingProxyType({
    "predict": "since Cortex 0.35 it is called handle_async",
    **dict.fromkeys(
        ("handle_post", "handle_get", "handle_put", "handle_patch", "handle_delete"),
        "a RealtimeAPI has it; an AsyncAPI has handle_async",
    ),
    "handle_batch": "a BatchAPI has it; an AsyncAPI has handle_async",
})  # fmt: skip
