"""Files and functions are small enough to be read at once."""

from __future__ import annotations

import ast
import re

from tests.unit.house.tree import files, generated, name, python_files

FILE_LINES_MAX = 400
ENVOY_LINES_MAX = 540
"""The limit of envoy.yaml. It is one file, because Envoy reads one file, and YAML anchors work only within a file."""
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


def test_no_function_is_exempt_from_the_complexity_limit() -> None:
    """A function that is too complex for the linter is split."""
    excused = [
        f"{name(path)}:{number}"
        for path in files()
        if path.suffix == ".py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"#\s*(ruff: )?noqa.*\b(C901|PLR09\d\d)", line)
    ]
    assert excused == []
