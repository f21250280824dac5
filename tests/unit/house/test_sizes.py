"""Files and functions stay small enough to be read in one go."""

from __future__ import annotations

import ast
import re

from tests.unit.house.tree import files, generated, name, python_files

FILE_LINES_MAX = 400
ENVOY_LINES_MAX = 540
"""Envoy takes one file, in which an anchor of YAML is known."""
FUNCTION_LINES_MAX = 60
CODE = {".py", ".lua", ".proto", ".yaml", ".yml", ".toml", ".sh", ""}


def test_no_file_is_longer_than_400_lines() -> None:
    code = [path for path in files() if path.suffix in CODE and not generated(path) and path.name != "LICENSE"]
    lines = {name(path): path.read_text(encoding="utf-8").count("\n") for path in code}
    assert lines.pop("envoy/insula_envoy/envoy.yaml") <= ENVOY_LINES_MAX
    assert {path: count for path, count in lines.items() if count > FILE_LINES_MAX} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    long: list[str] = []
    for path, tree in python_files():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    long.append(f"{path}:{node.lineno} {node.name}: {length} lines")
    assert long == []


def test_complexity_is_never_waved_through() -> None:
    """A function that the linter finds too complex is split, not excused."""
    excused = [
        f"{name(path)}:{number}"
        for path in files()
        if path.suffix == ".py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"#\s*(ruff: )?noqa.*\b(C901|PLR09\d\d)", line)
    ]
    assert excused == []
