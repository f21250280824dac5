"""What one replica needs from its node: `compute` and `handler.shm_size` of cortex.yaml."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING
from typing import Final

from insula.errors import ProjectInvalid
from insula.kubernetes.metadata import Object
from insula.kubernetes.options import NODE_GROUP
from insula.project import ApiSpec
from insula.project.configuration.units import Quantity

MEMORY_DEFAULT: Final = Quantity("512Mi")
"""Memory request of the container if there is no compute.mem."""
MEMORY_LIMIT_DEFAULT: Final = Quantity("8Gi")
"""Memory limit of the container if there is no compute.mem. The size of /dev/shm is added."""
MEMORY_MARGIN: Final = Quantity("512Mi")
"""Memory for the worker itself, in addition to the memory of the handlers."""
GPU: Final = "nvidia.com/gpu"
INFERENTIA: Final = "aws.amazon.com/neuron"
_CANONICAL: Final = re.compile(r"[1-9][0-9]*(m|[kMGTPE]|[KMGTPE]i)?")
_LABEL_VALUE: Final = re.compile(r"[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")


def resources(spec: ApiSpec) -> Object:
    """Return the requests and limits of the worker's container.

    The CPU limit is the request, rounded up to whole cores. The memory limit is larger than compute.mem, because the
    worker enforces compute.mem and ends the workload with MEMORY_LIMIT. The limit has room for two handlers unless
    `max_surge` is 0: the worker starts a new version beside the old one. It includes /dev/shm, a volume in memory.
    """
    compute, handlers = spec.compute, 1 if spec.update_strategy.in_place else 2
    shared = spec.handler.shm_size.bytes if spec.handler.shm_size else 0
    memory = compute.mem.bytes * handlers + MEMORY_MARGIN.bytes if compute.mem else MEMORY_LIMIT_DEFAULT.bytes
    cores = int(compute.cpu.amount.to_integral_value(rounding=ROUND_CEILING))
    devices: Object = {GPU: str(compute.gpu)} if compute.gpu else {}
    devices |= {INFERENTIA: str(compute.inf)} if compute.inf else {}
    return {
        "limits": {"cpu": str(cores), "memory": written(Quantity(str(memory + shared))), **devices},
        "requests": {
            "cpu": written(compute.cpu, millis=True),
            "memory": written(compute.mem or MEMORY_DEFAULT),
            **devices,
        },
    }


def written(quantity: Quantity, *, millis: bool = False) -> str:
    """Return a quantity in the form that Kubernetes accepts. cortex.yaml also accepts `1.`, `.5` and `1K`.

    With `millis`, it is rounded up to thousandths, otherwise to whole bytes.
    """
    if _CANONICAL.fullmatch(quantity.text) and not quantity.text.isdecimal():
        return quantity.text
    if millis:
        thousandths = int((quantity.amount * 1000).to_integral_value(rounding=ROUND_CEILING))
        return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"
    for unit, power in (("Gi", 3), ("Mi", 2), ("Ki", 1)):
        if quantity.bytes and quantity.bytes % 1024**power == 0:
            return f"{quantity.bytes // 1024**power}{unit}"
    return str(quantity.bytes)


def placement(spec: ApiSpec) -> Object:
    """Return the fields of a pod that choose its node: the affinity to `node_groups`, and the tolerations.

    Nodes with GPUs or Inferentia chips often have a taint with the device's name. The pod tolerates it if it requests
    the device. Raises ProjectInvalid if a node group cannot be the value of a label.
    """
    groups = spec.compute.node_groups
    for group in groups:
        if not _LABEL_VALUE.fullmatch(group):
            raise ProjectInvalid(
                f"{spec.name} ({spec.kind}): compute: node_groups: {group!r} cannot be the value of the node label "
                f"{NODE_GROUP}: at most 63 letters, digits and the characters - _ ."
            )
    chosen: Object = {}
    if groups:
        terms: Object = {"matchExpressions": [{"key": NODE_GROUP, "operator": "In", "values": sorted(groups)}]}
        chosen["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [terms]}}
        }
    devices = [GPU] * bool(spec.compute.gpu) + [INFERENTIA] * bool(spec.compute.inf)
    if devices:
        chosen["tolerations"] = [{"effect": "NoSchedule", "key": device, "operator": "Exists"} for device in devices]
    return chosen
