"""The same project gives the same bytes, so that a repository of manifests shows only changes that matter."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from insula.kubernetes.options import Options
from insula.kubernetes.render import objects, to_yaml
from insula.project import read_project
from tests.unit.kubernetes.manifests import Object, only, rendered
from tests.unit.project.entries import HANDLER, MINIMAL, project

ORDERED = """\
- name: b
  kind: AsyncAPI
  handler: {type: python, path: handler.py, env: {X: "1", A: "2"}}
  compute: {cpu: 1, node_groups: [y, x]}
- name: a
  kind: AsyncAPI
  handler: {type: python, path: handler.py}
"""
REORDERED = """\
- {kind: AsyncAPI, handler: {path: handler.py, type: python}, name: a}
- compute: {node_groups: [y, x], cpu: 1}
  handler: {env: {A: "2", X: "1"}, path: handler.py, type: python}
  kind: AsyncAPI
  name: b
"""


def text(root: Path, config: str, handler: str = HANDLER, **options: Any) -> str:
    root.mkdir(exist_ok=True)
    return to_yaml(objects(read_project(project(root, {"handler.py": handler}, config)), Options(**options)))


def test_the_order_in_the_file_does_not_matter(tmp_path: Path) -> None:
    first = text(tmp_path / "one", ORDERED)
    assert first == text(tmp_path / "one", ORDERED) == text(tmp_path / "two", REORDERED)


def _sorted(value: Any) -> bool:
    if isinstance(value, dict):
        members = cast("Object", value)
        return list(members) == sorted(members) and all(map(_sorted, members.values()))
    return not isinstance(value, list) or all(map(_sorted, cast("Sequence[Any]", value)))


def test_keys_are_sorted_and_apis_too(tmp_path: Path) -> None:
    found: list[Object] = list(yaml.safe_load_all(text(tmp_path, ORDERED)))
    assert all(map(_sorted, found))
    assert [each["metadata"]["labels"]["insula/api"] for each in found] == ["a"] * 8 + ["b"] * 8


def job(root: Path, config: str = MINIMAL, handler: str = HANDLER, **options: Any) -> str:
    name: str = only(list(yaml.safe_load_all(text(root, config, handler, **options))), "Job")["metadata"]["name"]
    return name


def test_the_name_of_the_job_changes_with_what_it_registers_and_with_itself(tmp_path: Path) -> None:
    """Kubernetes does not allow changes of a Job, so a changed Job needs a new name."""
    first = job(tmp_path / "one")
    assert re.fullmatch(r"api-my-api-[0-9a-f]{12}", first)
    assert first == job(tmp_path / "two")
    assert len({
        first,
        job(tmp_path / "one", handler=f"{HANDLER}# changed\n"),
        job(tmp_path / "one", f"{MINIMAL}  compute: {{cpu: 1}}\n"),
        job(tmp_path / "one", image="registry.example.com/worker:2"),
    }) == 4  # fmt: skip


def test_names_and_labels_fit_the_longest_name_of_an_api(tmp_path: Path) -> None:
    found = rendered(read_project(project(tmp_path, {}, MINIMAL.replace("my-api", "a" * 42))))
    names = [each["metadata"]["name"] for each in found]
    assert max(map(len, names)) <= 63
    assert len(f"keda-hpa-{only(found, 'ScaledObject')['metadata']['name']}") <= 63


def test_every_reader_of_yaml_takes_a_text_for_a_text(tmp_path: Path) -> None:
    """Texts such as `1e3` and `yes` are quoted, because readers of YAML may take them for numbers or booleans."""
    values = [
        "1e3",
        "0o7",
        "yes",
        "no",
        "~",
        "null",
        "0x1f",
        "1_000",
        ".5",
        "+1",
        "12:30",
        "2021-01-19",
        "",
        "a: b",
        "=",
        "<<",
    ]
    env = json.dumps({f"V{index:02}": value for index, value in enumerate(values)})
    made = text(tmp_path, MINIMAL + f"    env: {env}\n")
    quoted = re.findall(r'name: V\d+\n +value: "(.*)"', made)
    assert quoted == values


def test_a_plain_image_has_no_job_and_the_name_of_insulas_own(tmp_path: Path) -> None:
    found = rendered(read_project(project(tmp_path, {})), plain=True)
    assert "Job" not in {each["kind"] for each in found}
    (container,) = only(found, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert re.fullmatch(r"insula-worker:\d+\.\d+\.\d+", container["image"])


def test_the_job_registers_the_project_inside_its_image(tmp_path: Path) -> None:
    (container,) = only(rendered(read_project(project(tmp_path, {}))), "Job")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == [
        "insula", "deploy", "/opt/insula/project", "--api", "my-api", "--no-wait", "--admin", "insula-submit:8081",
    ]  # fmt: skip
