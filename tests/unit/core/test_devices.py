"""The distribution of GPUs and Neuron devices to the workers of a stack, and to the processes of a worker.

The machine of these tests is a folder with device files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from insula.devices import Devices, device_variables, visible_devices, worker_variables
from insula.project.configuration.spec import Compute

TWO, NONE = Compute(gpu=2), Compute()


def machine(root: Path, *, nvidia: int = 0, amd: int = 0, neuron: tuple[int, ...] = ()) -> Path:
    """Make the files of a machine's devices. `neuron` has the number of cores of each Neuron device."""
    (root / "dev").mkdir(parents=True)
    for name in ("nvidiactl", "nvidia-uvm", "null", *(f"nvidia{number}" for number in range(nvidia))):
        (root / "dev" / name).touch()
    for node, simd in enumerate((0, *[304] * amd)):  # node 0 is the CPU
        properties = root / f"sys/class/kfd/kfd/topology/nodes/{node}/properties"
        properties.parent.mkdir(parents=True)
        properties.write_text(f"cpu_cores_count {0 if simd else 8}\nsimd_count {simd}\nmem_banks_count 1\n")
    for number, cores in enumerate(neuron):
        (root / f"dev/neuron{number}").touch()
        count = root / f"sys/devices/virtual/neuron_device/neuron{number}/core_count"
        count.parent.mkdir(parents=True)
        count.write_text(f"{cores}\n")
    return root


def named(found: tuple[Devices, ...]) -> dict[str, list[str]]:
    return {kind.variable: [",".join(device) for device in kind.devices] for kind in found}


def processes(
    count: int, compute: Compute, visible: tuple[Devices, ...], own: tuple[str, ...] = ()
) -> list[dict[str, str]]:
    """Return, for each of `count` handler processes, the environment variables that name its devices."""
    return [device_variables(process, count, compute, own, visible) for process in range(count)]


def test_a_machine_without_accelerators_has_none(tmp_path: Path) -> None:
    """The machine has no device, even if an environment variable names some. Then workers get no variable."""
    visible = visible_devices({"CUDA_VISIBLE_DEVICES": "0,1", "NEURON_RT_VISIBLE_CORES": "0-3"}, machine(tmp_path))
    assert visible == ()
    assert processes(2, TWO, visible) == [{}, {}]
    assert worker_variables([(TWO, ())], visible) == [{}]
    assert visible_devices({}, tmp_path / "nothing") == ()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["0", "1", "2", "3"]),
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, ["2", "3"]),
        ({"CUDA_VISIBLE_DEVICES": " 3 , 1,-1,0"}, ["3", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937,MIG-5f7a"}, ["GPU-8932f937", "MIG-5f7a"]),
    ],
)
def test_gpus_of_nvidia_are_those_that_the_variable_names(
    tmp_path: Path, environment: Mapping[str, str], expected: list[str]
) -> None:
    assert named(visible_devices(environment, machine(tmp_path, nvidia=4))) == {"CUDA_VISIBLE_DEVICES": expected}


def test_an_empty_variable_hides_all_gpus(tmp_path: Path) -> None:
    assert visible_devices({"CUDA_VISIBLE_DEVICES": ""}, machine(tmp_path, nvidia=4)) == ()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["0", "1", "2", "3"]),
        ({"ROCR_VISIBLE_DEVICES": "2,3"}, ["0", "1"]),
        ({"ROCR_VISIBLE_DEVICES": "1,2,3", "HIP_VISIBLE_DEVICES": "0,2"}, ["0", "2"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["1"]),
    ],
)
def test_gpus_of_amd_are_counted_among_those_that_rocr_leaves(
    tmp_path: Path, environment: Mapping[str, str], expected: list[str]
) -> None:
    """HIP numbers only the GPUs that ROCR_VISIBLE_DEVICES names. So processes get HIP_VISIBLE_DEVICES only."""
    assert named(visible_devices(environment, machine(tmp_path, amd=4))) == {"HIP_VISIBLE_DEVICES": expected}


def test_a_gpu_of_amd_that_the_container_may_not_use_does_not_count(tmp_path: Path) -> None:
    """The `properties` file of such a GPU cannot be read."""
    root = machine(tmp_path, amd=2)
    hidden = root / "sys/class/kfd/kfd/topology/nodes/1/properties"
    hidden.unlink()
    hidden.mkdir()
    assert named(visible_devices({}, root)) == {"HIP_VISIBLE_DEVICES": ["0"]}


def test_a_neuron_device_is_named_by_its_cores(tmp_path: Path) -> None:
    root = machine(tmp_path, neuron=(2, 2))
    assert named(visible_devices({}, root)) == {"NEURON_RT_VISIBLE_CORES": ["0,1", "2,3"]}
    chosen = visible_devices({"NEURON_RT_VISIBLE_CORES": "2-3"}, root)
    assert named(chosen) == {"NEURON_RT_VISIBLE_CORES": ["2,3"]}
    (root / "sys/devices/virtual/neuron_device/neuron1/core_count").unlink()
    assert visible_devices({}, root) == ()


def test_each_process_gets_its_own_devices(tmp_path: Path) -> None:
    visible = visible_devices({}, machine(tmp_path, nvidia=4))

    def dealt(count: int, gpu: int) -> list[str | None]:
        return [each.get("CUDA_VISIBLE_DEVICES") for each in processes(count, Compute(gpu=gpu), visible)]

    assert dealt(2, 2) == ["0", "1"]
    assert dealt(2, 4) == ["0,1", "2,3"]
    assert dealt(3, 4) == ["0", "1", "2"]
    assert dealt(2, 5) == ["0,1", "2,3"], "fewer are visible than asked for"
    assert dealt(1, 1) == [None], "one process has all devices of its worker"
    assert dealt(3, 2) == [None] * 3, "processes share if there are more of them than devices"
    assert dealt(2, 0) == [None] * 2, "the API asks for no GPU"


def test_processes_share_the_gpus_if_the_machine_has_fewer_than_processes(tmp_path: Path) -> None:
    assert processes(2, TWO, visible_devices({}, machine(tmp_path, nvidia=1))) == [{}, {}]


def test_processes_divide_the_cores_of_a_neuron_device(tmp_path: Path) -> None:
    """A process reserves its cores for itself, so processes cannot share one."""
    visible = visible_devices({}, machine(tmp_path, neuron=(4, 4)))
    cores = [{"NEURON_RT_VISIBLE_CORES": "0,1"}, {"NEURON_RT_VISIBLE_CORES": "2,3"}]
    assert processes(2, Compute(inf=1), visible) == cores


@pytest.mark.parametrize("own", ["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"])
def test_a_variable_of_the_user_is_left_alone(tmp_path: Path, own: str) -> None:
    """If a project sets one of these variables, its processes get none from Insula on a machine with AMD's GPUs.

    HIP also reads CUDA's variable. ROCR's variable changes the numbers of the GPUs. With NVIDIA's GPUs, only CUDA's
    variable counts.
    """
    amd = visible_devices({}, machine(tmp_path / "amd", amd=2))
    assert processes(2, TWO, amd, (own,)) == [{}, {}]
    assert worker_variables([(TWO, (own,))], amd) == [{}]
    nvidia = visible_devices({}, machine(tmp_path / "nvidia", nvidia=2))
    assert (processes(2, TWO, nvidia, (own,)) == [{}, {}]) == own.startswith("CUDA")


def test_the_workers_of_a_stack_get_different_devices(tmp_path: Path) -> None:
    """No device is given to an API without `compute.gpu`, or to one that sets the variable itself."""
    visible = visible_devices({"CUDA_VISIBLE_DEVICES": "1,2,3"}, machine(tmp_path, nvidia=4))
    workers = [(Compute(gpu=1), ()), (NONE, ()), (TWO, ("CUDA_VISIBLE_DEVICES",)), (TWO, ())]
    assert worker_variables(workers, visible) == [
        {"CUDA_VISIBLE_DEVICES": "1"},
        {},
        {},
        {"CUDA_VISIBLE_DEVICES": "2,3"},
    ]


def test_workers_share_devices_only_if_there_are_too_few(tmp_path: Path) -> None:
    visible = visible_devices({}, machine(tmp_path, nvidia=2))
    found = worker_variables([(Compute(gpu=1), ())] * 3 + [(Compute(gpu=8), ())], visible)
    assert [each["CUDA_VISIBLE_DEVICES"] for each in found] == ["0", "1", "0", "1,0"]


def test_a_worker_deals_what_the_stack_gave_it(tmp_path: Path) -> None:
    """With two workers of two processes each, on four GPUs, every process has its own GPU."""
    root = machine(tmp_path, nvidia=4)
    given = worker_variables([(TWO, ()), (TWO, ())], visible_devices({}, root))
    assert [processes(2, TWO, visible_devices(each, root)) for each in given] == [
        [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}],
        [{"CUDA_VISIBLE_DEVICES": "2"}, {"CUDA_VISIBLE_DEVICES": "3"}],
    ]
