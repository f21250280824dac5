"""Each key of cortex.yaml that Cortex meant for clusters has its effect in the objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from insula.errors import ProjectInvalid
from insula.project import read_project
from tests.unit.house.tree import ROOT
from tests.unit.kubernetes.manifests import PROJECTS, Object, of_folder, only, rendered
from tests.unit.project.entries import MINIMAL, project

EVERYTHING = """\
- name: my-api
  kind: AsyncAPI
  handler:
    type: python
    path: handler.py
    image: registry.example.com/team/worker@sha256:{digest}
    env: {{MODE: fast, COUNT: 1e3, PATH: /nowhere, AWS_ACCESS_KEY_ID: theirs, SHELL_TEXT: "$(POD_IP) $$5"}}
    log_level: warning
    shm_size: 2Gi
  compute: {{cpu: 1.5, mem: 4Gi, gpu: 2, node_groups: [large, gpu-spot]}}
  update_strategy: {{max_surge: 3, max_unavailable: 10%}}
  autoscaling:
    min_replicas: 2
    max_replicas: 9
    init_replicas: 4
    target_replica_concurrency: 3
    max_upscale_factor: 2
    max_downscale_factor: 0.5
    upscale_stabilization_period: 2m
    downscale_stabilization_period: 7m
    upscale_tolerance: 0.1
    downscale_tolerance: 0.2
""".format(digest="a" * 64)


def made(tmp_path: Path, config: str = EVERYTHING, **options: Any) -> list[Object]:
    return rendered(read_project(project(tmp_path, {}, config)), **options)


def pod_of(found: list[Object]) -> Object:
    spec: Object = only(found, "Deployment")["spec"]["template"]["spec"]
    return spec


def container_of(found: list[Object]) -> Object:
    containers: list[Object] = pod_of(found)["containers"]
    return containers[0]


def variables(found: list[Object]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container_of(found)["env"]}


def test_cpu_memory_and_devices_are_requests_and_limits(tmp_path: Path) -> None:
    """The limit has room for the handlers of two versions, for the worker and for /dev/shm."""
    assert container_of(made(tmp_path))["resources"] == {
        "requests": {"cpu": "1500m", "memory": "4Gi", "nvidia.com/gpu": "2"},
        "limits": {"cpu": "2", "memory": "10752Mi", "nvidia.com/gpu": "2"},
    }
    assert pod_of(made(tmp_path))["tolerations"] == [
        {"effect": "NoSchedule", "key": "nvidia.com/gpu", "operator": "Exists"}
    ]


def test_without_a_surge_the_limit_has_room_for_one_handler(tmp_path: Path) -> None:
    config = f"{MINIMAL}  compute: {{mem: 1Gi}}\n  update_strategy: {{max_surge: 0}}\n"
    assert container_of(made(tmp_path, config))["resources"]["limits"]["memory"] == "1536Mi"


def test_slots_change_the_target_of_the_scaler_and_nothing_else(tmp_path: Path) -> None:
    """The resources are those of the whole worker, however many processes it has."""
    slots = "    processes_per_replica: 4\n    threads_per_process: 8\n    max_memory_per_process: 1Gi\n"
    compute = "  compute: {cpu: 4, mem: 6Gi, gpu: 4}\n"
    plain = made(tmp_path / "plain", f"{MINIMAL}{compute}")
    several = made(tmp_path / "several", f"{MINIMAL}{slots}{compute}")
    assert container_of(several)["resources"] == container_of(plain)["resources"]
    assert [only(found, "ScaledObject")["spec"]["triggers"][0]["metadata"]["target"] for found in (plain, several)] == [
        "1.0",
        "32.0",
    ]


def test_inferentia_chips_are_neuron_devices(tmp_path: Path) -> None:
    resources = container_of(made(tmp_path, f"{MINIMAL}  compute: {{inf: 1}}\n"))["resources"]
    assert (resources["requests"]["aws.amazon.com/neuron"], resources["limits"]["aws.amazon.com/neuron"]) == ("1", "1")


@pytest.mark.parametrize(
    ("compute", "requests"),
    [
        ("{}", ("200m", "512Mi")),
        ("{cpu: 2, mem: 1G}", ("2", "1G")),
        ("{cpu: .5, mem: 1e9}", ("500m", "1000000000")),
        ("{cpu: 0.0205, mem: 1.5Gi}", ("21m", "1536Mi")),
        ("{cpu: 1000m, mem: 512.Mi}", ("1000m", "512Mi")),
        ("{mem: 1K}", None),
    ],
)
def test_quantities_are_written_as_kubernetes_reads_them(
    compute: str, requests: tuple[str, str] | None, tmp_path: Path
) -> None:
    if requests is None:  # below the least that cortex.yaml allows
        with pytest.raises(ProjectInvalid):
            made(tmp_path, f"{MINIMAL}  compute: {compute}\n")
        return
    found = container_of(made(tmp_path, f"{MINIMAL}  compute: {compute}\n"))["resources"]["requests"]
    assert (found["cpu"], found["memory"]) == requests


def test_node_groups_are_an_affinity_for_a_label_of_nodes(tmp_path: Path) -> None:
    term = {"key": "insula/node-group", "operator": "In", "values": ["gpu-spot", "large"]}
    assert pod_of(made(tmp_path))["affinity"]["nodeAffinity"] == {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
    }
    assert "affinity" not in pod_of(made(tmp_path, MINIMAL))
    with pytest.raises(ProjectInvalid, match=r"my-api \(AsyncAPI\): compute: node_groups: 'two words' cannot"):
        made(tmp_path, f"{MINIMAL}  compute: {{node_groups: [two words]}}\n")


def test_the_image_of_the_api_is_used_by_worker_and_registration(tmp_path: Path) -> None:
    found = made(tmp_path, image="registry.example.com/other:1")
    (registration,) = only(found, "Job")["spec"]["template"]["spec"]["containers"]
    assert {container_of(found)["image"], registration["image"]} == {
        f"registry.example.com/team/worker@sha256:{'a' * 64}"
    }


@pytest.mark.parametrize("image", ["worker", "worker:latest", "registry.example.com:5000/worker", "two words:1"])
def test_an_image_without_a_version_is_refused(image: str, tmp_path: Path) -> None:
    with pytest.raises(ProjectInvalid, match="needs a tag other than latest, or a digest"):
        made(tmp_path, MINIMAL, image=image)


def test_environment_and_log_level_are_variables_of_the_container(tmp_path: Path) -> None:
    """Variables that would change the worker, such as PATH, are left out. The worker gives them to the handler only."""
    found = variables(made(tmp_path))
    assert (found["MODE"], found["COUNT"], found["INSULA_LOG_LEVEL"]) == ("fast", "1e3", "warning")
    assert {"PATH", "AWS_ACCESS_KEY_ID"} & found.keys() == set()
    assert found["SHELL_TEXT"] == "$$(POD_IP) $$$$5"  # which Kubernetes turns into the text of the file


def test_shm_size_is_a_volume_in_memory(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}} in pod_of(found)["volumes"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in container_of(found)["volumeMounts"]


def test_the_update_strategy_is_that_of_the_deployment(tmp_path: Path) -> None:
    assert only(made(tmp_path), "Deployment")["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 3, "maxUnavailable": "10%"},
    }


def test_autoscaling_is_the_scaled_object(tmp_path: Path) -> None:
    spec = only(made(tmp_path, tolerance=True, namespace="ml"), "ScaledObject")["spec"]
    rules = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    up, down = rules["scaleUp"], rules["scaleDown"]
    percent = [[each["value"] for each in one["policies"] if each["type"] == "Percent"] for one in (up, down)]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], percent) == (2, 9, [[100], [50]])
    assert (up["stabilizationWindowSeconds"], down["stabilizationWindowSeconds"]) == (120, 420)
    assert (up["tolerance"], down["tolerance"]) == ("0.1", "0.2")
    (trigger,) = spec["triggers"]
    assert (trigger["type"], trigger["metadata"]["scalerAddress"]) == ("external-push", "insula-results.ml:9001")
    assert trigger["metadata"]["api"] == "my-api"
    assert spec["scaleTargetRef"]["name"] == only(made(tmp_path), "Deployment")["metadata"]["name"] == "api-my-api"


def test_replicas_are_written_only_if_nothing_else_sets_them(tmp_path: Path) -> None:
    """If KEDA sets the number of replicas, each `kubectl apply` with a number would undo KEDA's."""
    choices: tuple[Object, ...] = ({}, {"initial": True}, {"keda": False}, {"keda": False, "replicas": 3})
    chosen = [only(made(tmp_path, **options), "Deployment")["spec"].get("replicas") for options in choices]
    assert chosen == [None, 4, 4, 3]
    kinds = {each["kind"] for each in made(tmp_path, keda=False)}
    assert "ScaledObject" not in kinds


def test_secrets_are_variables_by_reference(tmp_path: Path) -> None:
    """A handler can read the files of its worker, but not the environment."""
    container = container_of(made(tmp_path))
    references = {
        each["name"]: each["valueFrom"]["secretKeyRef"]
        for each in container["env"]
        if "secretKeyRef" in each.get("valueFrom", {})
    }
    assert references == {
        "INSULA_ADMIN_TOKEN": {"name": "insula-admin", "key": "token"},
        "INSULA_REDIS_PASSWORD": {"name": "insula-redis", "key": "worker-my-api"},
    }
    assert container["envFrom"] == [
        {"configMapRef": {"name": "insula-stores"}},
        {"secretRef": {"name": "insula-s3", "optional": True}},
        {"prefix": "INSULA_HANDLER_", "secretRef": {"name": "insula-handlers-s3", "optional": True}},
    ]
    assert variables(made(tmp_path))["INSULA_REDIS_USER"] == "insula-worker-my-api"


def test_the_grace_period_is_the_workers_and_a_little_more(tmp_path: Path) -> None:
    cases: tuple[tuple[Object, int, str], ...] = (({}, 3600, "3570"), ({"grace_s": 90}, 90, "60"))
    for options, pod_s, worker_s in cases:
        found = made(tmp_path, **options)
        assert (pod_of(found)["terminationGracePeriodSeconds"], variables(found)["INSULA_GRACE_S"]) == (pod_s, worker_s)


@pytest.mark.parametrize("folder", PROJECTS)
def test_every_api_has_its_objects(folder: str) -> None:
    """`insula render` makes 8 objects for each API of the test projects, the examples and the templates."""
    names = {each.spec.name for each in read_project(ROOT / folder)}
    for name in names:
        mine = [each for each in of_folder(folder) if each["metadata"]["labels"]["insula/api"] == name]
        assert sorted(each["kind"] for each in mine) == [
            "Deployment", "Job", "NetworkPolicy", "NetworkPolicy", "PodDisruptionBudget", "ScaledObject", "Service",
            "ServiceAccount",
        ]  # fmt: skip
        port = only(mine, "Service")["spec"]["ports"][0]
        assert (only(mine, "Service")["metadata"]["name"], port["port"], port["targetPort"]) == (
            f"api-{name}",
            8888,
            "in-cluster",
        )
