"""Distributes a machine's accelerators among the workers of a stack, and those of a worker among its handler processes.

A program sees the devices that a variable of its environment names: CUDA_VISIBLE_DEVICES for NVIDIA,
HIP_VISIBLE_DEVICES for AMD, NEURON_RT_VISIBLE_CORES for AWS Neuron. A variable is not set if the machine has no such
device, or if the user has chosen devices of that kind for the handler.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from insula.project.configuration.spec import Compute

CUDA: Final = "CUDA_VISIBLE_DEVICES"
HIP: Final = "HIP_VISIBLE_DEVICES"
ROCR: Final = "ROCR_VISIBLE_DEVICES"
NEURON: Final = "NEURON_RT_VISIBLE_CORES"
CHOSEN_BY: Final = {CUDA: {CUDA}, HIP: {HIP, ROCR, CUDA}, NEURON: {NEURON, "NEURON_RT_NUM_CORES"}}
"""For each variable that Insula sets: the variables by which a user chooses the same devices. HIP reads CUDA's too."""

Device = tuple[str, ...]
"""The words that name one device: one index or UUID, or the indices of a Neuron device's cores."""


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of one kind: those that one environment variable, such as CUDA_VISIBLE_DEVICES, can name."""

    variable: str
    devices: tuple[Device, ...]

    def asked(self, compute: Compute) -> int:
        """Return the number of these devices that one worker asks for in its `compute`."""
        return compute.inf if self.variable == NEURON else compute.gpu


def visible_devices(environment: Mapping[str, str], root: Path = Path("/")) -> tuple[Devices, ...]:
    """Return the devices that a program with this environment sees. `root` has the machine's /dev and /sys."""
    found = (
        Devices(CUDA, _named(_singles(_nvidia(root)), environment.get(CUDA))),
        Devices(HIP, _hip(_amd(root), environment)),
        Devices(NEURON, _named(_neuron(root), environment.get(NEURON))),
    )
    return tuple(kind for kind in found if kind.devices)


def worker_variables(
    workers: Sequence[tuple[Compute, Collection[str]]], visible: Sequence[Devices]
) -> list[dict[str, str]]:
    """Return the variables of each worker. `workers` has each worker's `compute`, and the variables that its API sets.

    A worker gets as many devices as it asks for. If the workers together ask for more devices than the machine has,
    some workers share a device.
    """
    decks = [(kind, itertools.cycle(kind.devices)) for kind in visible]
    return [
        {
            kind.variable: _text(itertools.islice(deck, min(asked, len(kind.devices))))
            for kind, deck in decks
            if (asked := kind.asked(compute)) and CHOSEN_BY[kind.variable].isdisjoint(own)
        }
        for compute, own in workers
    ]


def device_variables(
    process: int, processes: int, compute: Compute, own: Collection[str], visible: Sequence[Devices]
) -> dict[str, str]:
    """Return the variables of one process of a worker; `process` counts from 0.

    `visible` are the worker's devices, `own` the names of the variables that the API sets itself. Each process gets the
    same number of devices. If there is one process, or fewer devices than processes, no variable is returned, and the
    processes share the devices. A core of a Neuron device counts as a device, because processes cannot share it.
    """
    variables = dict[str, str]()
    for kind in visible:
        devices = kind.devices[: kind.asked(compute)]
        if kind.variable == NEURON:
            devices = _singles(word for device in devices for word in device)
        each = len(devices) // processes
        if processes > 1 and each and CHOSEN_BY[kind.variable].isdisjoint(own):
            variables[kind.variable] = _text(devices[process * each : (process + 1) * each])
    return variables


def _text(devices: Sequence[Device] | Iterator[Device]) -> str:
    return ",".join(word for device in devices for word in device)


def _singles(words: Sequence[str] | Iterator[str]) -> tuple[Device, ...]:
    return tuple((word,) for word in words)


def _named(devices: tuple[Device, ...], names: str | None) -> tuple[Device, ...]:
    """Return the devices that a variable names. `names` is its value; with None, return all `devices` of the machine.

    A list ends at its first invalid word, such as -1. Neuron's variable may have a range such as 0-3. If the machine
    has no devices, return none.
    """
    if names is None or not devices:
        return devices
    words = itertools.takewhile(lambda word: word and not word.startswith("-"), map(str.strip, names.split(",")))
    given = [each for word in words for each in _spread(word)]
    size = len(devices[0])
    return tuple(tuple(given[first : first + size]) for first in range(0, len(given), size))


def _spread(word: str) -> Sequence[str]:
    limits = re.fullmatch(r"([0-9]{1,4})-([0-9]{1,4})", word)
    return [str(index) for index in range(int(limits[1]), int(limits[2]) + 1)] if limits else [word]


def _hip(machine: int, environment: Mapping[str, str]) -> tuple[Device, ...]:
    """Return the devices as HIP counts them: from 0, and only those that ROCR_VISIBLE_DEVICES lists."""
    left = _named(_singles(map(str, range(machine))), environment.get(ROCR))
    return _named(_singles(map(str, range(len(left)))), environment.get(HIP, environment.get(CUDA)))


def _nvidia(root: Path) -> list[str]:
    return [str(index) for index in range(len(_numbered(root / "dev", "nvidia")))]


def _amd(root: Path) -> int:
    """Return the number of AMD's GPUs: the nodes in /sys/class/kfd that have SIMD units.

    The nodes of CPUs have none. A container cannot read the nodes of the GPUs that it may not use.
    """
    nodes = (root / "sys/class/kfd/kfd/topology/nodes").glob("*/properties")
    return sum(bool(re.search(r"^simd_count [1-9]", _read(node), re.MULTILINE)) for node in nodes)


def _neuron(root: Path) -> tuple[Device, ...]:
    """Return each device as the indices of its cores; none if the driver does not report the number of cores."""
    drivers = root / "sys/devices/virtual/neuron_device"
    counts = [_read(drivers / name / "core_count").strip() for name in _numbered(root / "dev", "neuron")]
    if not all(count.isdigit() and int(count) for count in counts):
        return ()
    index = itertools.count()
    return tuple(tuple(str(next(index)) for _ in range(int(count))) for count in counts)


def _numbered(folder: Path, word: str) -> list[str]:
    """Return the names in the folder that consist of the word and a number, sorted by this number."""
    names = [path.name for path in folder.glob(f"{word}[0-9]*") if path.name.removeprefix(word).isdigit()]
    return sorted(names, key=lambda name: int(name.removeprefix(word)))


def _read(path: Path) -> str:
    """Return the text of a file; empty if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
