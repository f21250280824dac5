"""cortex.yaml: every key and default. The error texts are in recorded/errors.json."""

from __future__ import annotations

from datetime import timedelta

import pytest

from insula.project.configuration.cortex_yaml import parse
from insula.project.configuration.spec import Models
from insula.project.configuration.units import Quantity
from tests.unit.project.entries import MINIMAL, refusal, spec

TENSORFLOW = MINIMAL.replace("python", "tensorflow")


def test_each_missing_key_has_cortex_default() -> None:
    api = spec()
    assert (api.name, api.kind, api.networking.endpoint) == ("my-api", "AsyncAPI", "/my-api")
    handler = api.handler
    assert (handler.type, handler.path, handler.config, handler.env) == ("python", "handler.py", {}, {})
    dependencies = handler.dependencies
    assert (dependencies.pip, dependencies.conda) == ("requirements.txt", "conda-packages.txt")
    assert dependencies.shell == "dependencies.sh"
    assert (handler.log_level, handler.python_path, handler.image) == ("info", None, None)
    assert (handler.shm_size, handler.models) == (None, None)
    assert (handler.processes_per_replica, handler.threads_per_process, api.slots) == (1, 1, 1)
    assert (handler.max_requests_per_process, handler.max_memory_per_process) == (None, None)
    assert (api.compute.cpu, api.compute.mem, api.compute.gpu, api.compute.inf) == (Quantity("200m"), None, 0, 0)
    assert (api.update_strategy.max_surge, api.update_strategy.max_unavailable) == ("25%", "25%")
    scaling = api.autoscaling
    assert (scaling.min_replicas, scaling.max_replicas, scaling.init_replicas) == (1, 100, 1)
    assert (scaling.max_replica_concurrency, scaling.target_replica_concurrency) == (1024, 1.0)
    assert scaling.window == timedelta(seconds=60)
    assert scaling.downscale_stabilization_period == timedelta(minutes=5)
    assert scaling.upscale_stabilization_period == timedelta(minutes=1)
    assert (scaling.max_downscale_factor, scaling.max_upscale_factor) == (0.75, 1.5)
    assert (scaling.downscale_tolerance, scaling.upscale_tolerance) == (0.05, 0.05)


def test_null_is_the_same_as_leaving_a_key_out() -> None:
    assert spec("  compute:\n  networking: {endpoint: null}\n  autoscaling: {min_replicas: ~}\n") == spec()


def test_keys_of_other_kinds_are_accepted_without_a_value() -> None:
    assert spec("    protobuf_path: ~\n    server_side_batching: null\n") == spec()


def test_the_slots_are_those_of_all_processes() -> None:
    assert spec("    processes_per_replica: 4\n    threads_per_process: 8\n").slots == 32
    model = "    models: {path: s3://b/m}\n    processes_per_replica: 2\n    max_memory_per_process: 1Gi\n"
    assert spec(model, TENSORFLOW).slots == 2


def test_the_queue_limit_never_depends_on_current_replicas() -> None:
    assert spec().queue_limit == 1024 * 100
    assert spec("  autoscaling: {min_replicas: 0, max_replicas: 3, max_replica_concurrency: 7}\n").queue_limit == 21


def test_initial_replicas_follow_the_minimum() -> None:
    assert spec("  autoscaling: {min_replicas: 3}\n").autoscaling.init_replicas == 3


def test_the_target_of_the_autoscaler_follows_the_slots() -> None:
    """The default target is the number of a worker's slots, so that KEDA does not start a replica for each workload.

    It is at most `max_replica_concurrency`.
    """
    slots = "    processes_per_replica: 4\n    threads_per_process: 8\n"
    assert spec(slots).autoscaling.target_replica_concurrency == 32
    assert spec(slots + "  autoscaling: {target_replica_concurrency: 1}\n").autoscaling.target_replica_concurrency == 1
    assert spec(slots + "  autoscaling: {max_replica_concurrency: 9}\n").autoscaling.target_replica_concurrency == 9


def test_environment_values_are_the_text_in_the_file() -> None:
    env = spec("    env: {A: yes, B: 0123, C: 1.50, D: , E: 'x'}\n").handler.env
    assert env == {"A": "yes", "B": "0123", "C": "1.50", "D": "", "E": "x"}


def test_config_is_read_as_cortex_read_it() -> None:
    """Numbers, booleans and text have the types of Go's YAML reader. The order of keys is kept."""
    text = "    config: {z: 1, a: [1e3, 0x1f, 012, 12:30, 2021-01-19, yes, ~], m: {deep: {er: '1'}}}\n"
    config = spec(text).handler.config
    assert config == {"z": 1, "a": [1000.0, 31, 10, "12:30", "2021-01-19", True, None], "m": {"deep": {"er": "1"}}}
    assert list(config) == ["z", "a", "m"]


def test_anchors_and_merge_keys_work() -> None:
    text = """
- &base
  name: one
  kind: AsyncAPI
  handler: {type: python, path: handler.py}
- <<: *base
  name: two
"""
    assert [api.name for api in parse(text.encode(), "cortex.yaml")] == ["one", "two"]


@pytest.mark.parametrize(
    ("endpoint", "canonical"), [("/a", "/a"), ("a", "/a"), ("a/b/", "/a/b"), ("/A_1-x.y/z", "/A_1-x.y/z")]
)
def test_endpoints_are_normalised(endpoint: str, canonical: str) -> None:
    assert spec(f"  networking: {{endpoint: {endpoint}}}\n").networking.endpoint == canonical


def test_paths_are_normalised() -> None:
    assert spec(minimal=MINIMAL.replace("handler.py", "./src/../handler.py")).handler.path == "handler.py"


def test_quantities_and_durations_are_parsed() -> None:
    api = spec("  compute: {cpu: 1.5, mem: 1G}\n  autoscaling: {window: 1m30s}\n")
    assert float(api.compute.cpu.amount) == 1.5
    assert api.compute.mem is not None
    assert api.compute.mem.bytes == 10**9
    assert api.autoscaling.window == timedelta(seconds=90)


def test_models_of_a_tensorflow_handler() -> None:
    assert spec("    models: {path: s3://b/m/}\n", TENSORFLOW).handler.models == Models("s3://b/m/", (), None, None)
    several = spec("    models: {paths: [{name: a, path: s3://b/a}, {name: b, path: s3://b/b}]}\n", TENSORFLOW)
    assert several.handler.models is not None
    assert [model.name for model in several.handler.models.paths] == ["a", "b"]


def test_error_texts_are_those_of_the_contract() -> None:
    no_path = MINIMAL.replace("    path: handler.py\n", "")
    assert refusal(no_path) == "cortex.yaml: my-api (AsyncAPI): handler: path: must be defined (line 3, column 3)"
    wrong_type = refusal(MINIMAL.replace("python", "torch"))
    assert 'handler: type: invalid value (got "torch", must be "python" or "tensorflow") (line 4' in wrong_type
    assert refusal("- kind: AsyncAPI\n").startswith("cortex.yaml: index 0 (AsyncAPI): name: must be defined")


@pytest.mark.parametrize("name", ["A", "1a", "a-", "a_b", "a" * 43, "-a", "ä"])
def test_names_follow_the_contract(name: str) -> None:
    assert "name: must" in refusal(MINIMAL.replace("my-api", name))


def test_other_kinds_are_refused_with_advice() -> None:
    sentence = refusal("- name: a\n  kind: RealtimeAPI\n  handler: {whatever: true}\n")
    assert sentence.startswith('cortex.yaml: a (RealtimeAPI): kind: invalid value (got "RealtimeAPI", must be')
    assert "Insula runs AsyncAPI only" in sentence


def test_names_and_endpoints_are_unique_in_a_file() -> None:
    other = MINIMAL.replace("my-api", "other")
    assert "name: is used by more than one API" in refusal(MINIMAL + MINIMAL + "  networking: {endpoint: b}\n")
    assert "/my-api is the endpoint of my-api already" in refusal(
        MINIMAL + other + "  networking: {endpoint: my-api}\n"
    )


WRONG_FILES = [
    ("", "is empty"),
    ("# only a comment", "is empty"),
    ("a: b", "must be a list of APIs"),
    ("[]", "must describe at least one API"),
    ("- 1", "index 0: invalid type (got 1, must be a map)"),
    ("- name: a\n  name: b", 'key "name" is duplicated (line 2, column 3)'),
    ("- {1: a}", "keys must be strings"),
    ("- {? [a] : b}", "keys must be strings"),
    ("- &a [*a]", "must not be nested deeper"),
    ("- a: {", "is not valid YAML"),
    ("- *a", "found undefined alias"),
    ("- !!python/object:os.system {}", "the tag tag:yaml.org,2002:python/object:os.system is not supported"),
    ("- !!set {a}", "is not supported"),
    ("- !!int x", "does not fit its tag"),
    ("- a\n---\n- b", "is not valid YAML: but found another document (line 2"),
    ('- "\\uD800"', "must be valid Unicode"),
    ('- "\\UFFFFFFFF"', "is not valid YAML"),
    ("- {<<: 1}", "<< must be followed by a map"),
    ("[" * 5000, "must not be nested deeper than"),
    (b"\xff\xff", "is not valid YAML"),
    (b"- " + b"9" * 5000, "does not fit its tag"),
    (b"x" * (2**20 + 1), "must not be larger than"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG_FILES)
def test_a_file_without_a_list_of_apis_is_refused(text: str | bytes, problem: str) -> None:
    sentence = refusal(text)
    assert sentence.startswith("cortex.yaml: ")
    assert problem in sentence


def test_nested_aliases_are_refused_before_they_fill_the_memory() -> None:
    lines = ["- &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "nor hold more than" in refusal("\n".join(lines))
