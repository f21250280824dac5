"""The image of an API's worker."""

from __future__ import annotations

import re
from pathlib import Path

from insula.kubernetes.images import worker_image
from insula.project import Project, read_project
from tests.unit.project.entries import HANDLER, project

TWO = """\
- name: second
  kind: AsyncAPI
  handler: {type: python, path: handler.py}
- name: first
  kind: AsyncAPI
  handler: {type: python, path: handler.py, image: "registry.example.com/gpu:1.2"}
"""


def two(root: Path, config: str = TWO, handler: str = HANDLER) -> list[Project]:
    root.mkdir(exist_ok=True)
    return read_project(project(root, {"handler.py": handler}, config))


def test_an_image_is_that_of_the_api_else_the_given_one_else_that_of_the_project(tmp_path: Path) -> None:
    second, first = apis = two(tmp_path)
    assert worker_image(apis, first.spec) == "registry.example.com/gpu:1.2"
    assert worker_image(apis, first.spec, "given:1") == "registry.example.com/gpu:1.2"
    assert worker_image(apis, second.spec, "given:1") == "given:1"
    assert re.fullmatch(r"insula-worker-first:[0-9a-f]{12}", worker_image(apis, second.spec))


def test_the_tag_changes_with_the_files_and_not_with_the_order_of_the_apis(tmp_path: Path) -> None:
    apis = two(tmp_path / "one")
    same = two(tmp_path / "same", "".join(reversed(re.split("(?m)^(?=- )", TWO))))
    other = two(tmp_path / "other", handler=f"{HANDLER}# changed\n")
    assert worker_image(apis, apis[0].spec) == worker_image(same, apis[0].spec) != worker_image(other, apis[0].spec)
