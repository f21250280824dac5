"""cortex.yaml: every key, default, bound and sentence of the contract."""

from __future__ import annotations

from datetime import timedelta

import pytest

from insula.project.cortex_yaml import parse
from insula.project.spec import Models
from insula.project.units import Quantity
from tests.unit.project.entries import MINIMAL, refusal, spec

TENSORFLOW = MINIMAL.replace("python", "tensorflow")


def test_everything_left_out_has_cortex_default() -> None:
    api = spec()
    assert (api.name, api.kind, api.networking.endpoint) == ("my-api", "AsyncAPI", "/my-api")
    handler = api.handler
    assert (handler.type, handler.path, handler.config, handler.env) == ("python", "handler.py", {}, {})
    dependencies = handler.dependencies
    assert (dependencies.pip, dependencies.conda) == ("requirements.txt", "conda-packages.txt")
    assert dependencies.shell == "dependencies.sh"
    assert (handler.log_level, handler.python_path, handler.image) == ("info", None, None)
    assert (handler.shm_size, handler.models) == (None, None)
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


def test_keys_of_other_kinds_may_say_what_holds_anyway() -> None:
    one = "    processes_per_replica: 1\n    threads_per_process: ~\n    server_side_batching: null\n"
    assert spec(one) == spec()


def test_the_queue_limit_never_depends_on_current_replicas() -> None:
    assert spec().queue_limit == 1024 * 100
    assert spec("  autoscaling: {min_replicas: 0, max_replicas: 3, max_replica_concurrency: 7}\n").queue_limit == 21


def test_initial_replicas_follow_the_minimum() -> None:
    assert spec("  autoscaling: {min_replicas: 3}\n").autoscaling.init_replicas == 3


def test_environment_values_are_taken_as_written() -> None:
    env = spec("    env: {A: yes, B: 0123, C: 1.50, D: , E: 'x'}\n").handler.env
    assert env == {"A": "yes", "B": "0123", "C": "1.50", "D": "", "E": "x"}


def test_config_is_read_as_cortex_read_it() -> None:
    """Numbers, booleans and text as Go's YAML reader sees them, and in their order."""
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
def test_endpoints_have_one_form(endpoint: str, canonical: str) -> None:
    assert spec(f"  networking: {{endpoint: {endpoint}}}\n").networking.endpoint == canonical


def test_paths_have_one_form() -> None:
    assert spec(minimal=MINIMAL.replace("handler.py", "./src/../handler.py")).handler.path == "handler.py"


def test_quantities_and_durations_are_understood() -> None:
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


WRONG_SECTIONS = [
    ("    config: [1]\n", "handler: config: invalid type (got a list, must be a map)"),
    ("    config: {a: .nan}\n", "handler: config: a: must be a finite number (got .nan)"),
    ("    env: {CORTEX_X: 1}\n", "handler: env: CORTEX_X: names starting with CORTEX_ or INSULA_ are reserved"),
    ("    env: {INSULA_X: 1}\n", "handler: env: INSULA_X: names starting with CORTEX_ or INSULA_ are reserved"),
    ("    env: {A: [1]}\n", "handler: env: A: invalid type (got a list, must be a string)"),
    ("    env: {'a b': 1}\n", "handler: env: a b: must be the name of an environment variable"),
    ("    pth: x\n", 'handler: key "pth" is not supported; did you mean "path"?'),
    ("    python_path: ../x\n", "handler: python_path: must be a path inside the project directory"),
    ("    dependencies: {pip: /r.txt}\n", "handler: dependencies: pip: must be a path inside the project directory"),
    (
        "    log_level: loud\n",
        'handler: log_level: invalid value (got "loud", must be "debug", "info", "warning", or "error")',
    ),
    ("    processes_per_replica: 2\n", 'handler: key "processes_per_replica" is not supported but for 1'),
    ("    threads_per_process: yes\n", 'handler: key "threads_per_process" is not supported but for 1'),
    ("    server_side_batching: {max_batch_size: 2}\n", 'handler: key "server_side_batching" is not supported'),
    ("    models: {path: s3://b}\n", "handler: models: is not supported by the handler type python"),
    ("  compute: {cpu: 19m}\n", "compute: cpu: must be greater than or equal to 20m (got 19m)"),
    ("  compute: {mem: 19Mi}\n", "compute: mem: must be greater than or equal to 20Mi (got 19Mi)"),
    ("  compute: {mem: lots}\n", "compute: mem: must be a quantity such as"),
    ("  compute: {mem: true}\n", "compute: mem: invalid type (got true, must be a string)"),
    ("  compute: {gpu: -1}\n", "compute: gpu: must be greater than or equal to 0 (got -1)"),
    ("  compute: {gpu: 1, inf: 1}\n", "compute: gpu and inf cannot both be requested"),
    ("  compute: {node_groups: [1]}\n", "compute: node_groups: index 0: invalid type (got 1, must be a string)"),
    (
        "  autoscaling: {min_replicas: 5, max_replicas: 2}\n",
        "autoscaling: min_replicas cannot be greater than max_replicas (5 > 2)",
    ),
    (
        "  autoscaling: {init_replicas: 101}\n",
        "autoscaling: init_replicas cannot be greater than max_replicas (101 > 100)",
    ),
    (
        "  autoscaling: {min_replicas: 2, init_replicas: 1}\n",
        "autoscaling: init_replicas cannot be less than min_replicas (1 < 2)",
    ),
    ("  autoscaling: {max_replicas: 0}\n", "max_replicas: must be greater than or equal to 1 (got 0)"),
    ("  autoscaling: {max_replica_concurrency: 30001}\n", "must be less than or equal to 30000 (got 30001)"),
    ("  autoscaling: {max_replica_concurrency: 1.5}\n", "invalid type (got 1.5, must be an integer)"),
    ("  autoscaling: {target_replica_concurrency: 0}\n", "must be greater than 0 (got 0)"),
    (
        "  autoscaling: {target_replica_concurrency: 8, max_replica_concurrency: 4}\n",
        "target_replica_concurrency cannot be greater than max_replica_concurrency (8 > 4)",
    ),
    ("  autoscaling: {window: 5s}\n", "autoscaling: window: must be greater than or equal to 10s (got 5s)"),
    ("  autoscaling: {window: 15s}\n", "autoscaling: window: must be a multiple of 10s (got 15s)"),
    ("  autoscaling: {window: 60}\n", "autoscaling: window: invalid type (got 60, must be a string)"),
    ("  autoscaling: {window: soon}\n", 'autoscaling: window: must be a duration such as "60s"'),
    ("  autoscaling: {max_downscale_factor: 1}\n", "max_downscale_factor: must be less than 1 (got 1)"),
    ("  autoscaling: {max_upscale_factor: 1}\n", "max_upscale_factor: must be greater than 1 (got 1)"),
    ("  autoscaling: {upscale_tolerance: -0.1}\n", "must be greater than or equal to 0 (got -0.1)"),
    ("  update_strategy: {max_surge: 0, max_unavailable: 0%}\n", "max_surge and max_unavailable cannot both be zero"),
    ("  update_strategy: {max_surge: 101%}\n", "update_strategy: max_surge: must be a number of replicas such as 5"),
    ("  networking: {endpoint: /}\n", 'networking: endpoint: cannot be just "/"'),
    ("  networking: {endpoint: a//b}\n", "networking: endpoint: cannot contain adjacent slashes"),
    ("  networking: {endpoint: 'a:b'}\n", "networking: endpoint: must consist of letters, digits"),
    ("  networking: {endpoint: a/../b}\n", 'networking: endpoint: cannot contain "." or ".."'),
    ("  networking: {endpoint: 1/2/3/4/5/6/7/8/9}\n", "must have at most 8 parts between slashes (got 9)"),
    ("  networking: {endpoint: /v1/apis/}\n", "networking: endpoint: /v1/apis is reserved"),
    ("  networking: {endpoint: healthz}\n", "networking: endpoint: /healthz is reserved"),
    ("  whatever: {}\n", 'key "whatever" is not supported; supported keys: name, kind, handler'),
]


@pytest.mark.parametrize(("more", "problem"), WRONG_SECTIONS)
def test_a_broken_rule_names_file_api_section_and_key(more: str, problem: str) -> None:
    sentence = refusal(MINIMAL + more)
    assert sentence.startswith("cortex.yaml: my-api (AsyncAPI): ")
    assert problem in sentence
    assert "(line 6, column" in sentence or "(line 3, column" in sentence


WRONG_MODELS = [
    ("", "handler: models: must be defined"),
    ("    models: {}\n", "exactly one of path, paths and dir must be defined (got none)"),
    ("    models: {path: s3://b, dir: s3://b}\n", "must be defined (got path and dir)"),
    ("    models: {path: /local}\n", "must be an S3 path such as"),
    ("    models: {paths: [{name: a}]}\n", "handler: models: paths: index 0: path: must be defined"),
    (
        "    models: {paths: [{name: a, path: s3://b}, {name: a, path: s3://c}]}\n",
        'the name "a" is used by more than one model',
    ),
]


@pytest.mark.parametrize(("more", "problem"), WRONG_MODELS)
def test_models_are_checked(more: str, problem: str) -> None:
    assert problem in refusal(TENSORFLOW + more)


def test_the_sentences_of_the_contract_appear_as_written() -> None:
    no_path = MINIMAL.replace("    path: handler.py\n", "")
    assert refusal(no_path) == "cortex.yaml: my-api (AsyncAPI): handler: path: must be defined (line 3, column 3)"
    wrong_type = refusal(MINIMAL.replace("python", "torch"))
    assert 'handler: type: invalid value (got "torch", must be "python" or "tensorflow") (line 4' in wrong_type
    assert refusal("- kind: AsyncAPI\n").startswith("cortex.yaml: index 0 (AsyncAPI): name: must be defined")


@pytest.mark.parametrize("name", ["A", "1a", "a-", "a_b", "a" * 43, "-a", "ä"])
def test_names_follow_the_contract(name: str) -> None:
    assert "name: must" in refusal(MINIMAL.replace("my-api", name))


def test_other_kinds_are_refused_with_a_sentence() -> None:
    sentence = refusal("- name: a\n  kind: RealtimeAPI\n  handler: {whatever: true}\n")
    assert sentence.startswith('cortex.yaml: a (RealtimeAPI): kind: invalid value (got "RealtimeAPI", must be')
    assert "Insula runs AsyncAPI only" in sentence


def test_names_and_endpoints_are_unique_over_the_file() -> None:
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
def test_what_is_no_list_of_apis_is_refused(text: str | bytes, problem: str) -> None:
    sentence = refusal(text)
    assert sentence.startswith("cortex.yaml: ")
    assert problem in sentence


def test_a_few_lines_of_aliases_cannot_fill_the_memory() -> None:
    lines = ["- &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "nor hold more than" in refusal("\n".join(lines))
