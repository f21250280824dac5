"""Reads cortex.yaml, a list of APIs. Every error names file, API, key, line and column.

Scalars have the types of Cortex' reader, not of PyYAML: `1e3` is a number, `12:30` and `2021-01-19` are text. A
duplicate key is an error, because one of the two values would be lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from insula.errors import ProjectInvalid
from insula.project.configuration.spec import ApiSpec, read_entry
from insula.project.configuration.tree import (
    DEPTH_MAX,
    INTEGER_BITS_MAX,
    NODES_MAX,
    Invalid,
    Node,
    Scalar,
    checked_text,
)
from insula.project.text import decode

FILE_BYTES_MAX: Final = 2**20
_TAG: Final = "tag:yaml.org,2002:"
_BOOLEANS: Final[Mapping[str, bool]] = MappingProxyType(
    {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
)
_INTEGER: Final = r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*)"
_FLOAT: Final = (
    r"[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)


class _Loader(yaml.SafeLoader):
    """PyYAML's parser without its own types of scalars. The loop below adds the types of Cortex' reader."""


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("null", "~|null|Null|NULL|", "~nN"),
    ("bool", "yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", _INTEGER, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("merge", "<<", "<"),
):
    _firsts = [*_first, *([""] if _name == "null" else [])]
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), _firsts)


def load(path: Path) -> list[ApiSpec]:
    """Return the APIs that the file at `path` describes, at least one.

    Raises ProjectInvalid for the first rule that the file breaks, or if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ProjectInvalid(f"{path}: cannot be read: {error.strerror}") from None
    return parse(data, path.name)


def parse(data: bytes, file: str) -> list[ApiSpec]:
    """Return the APIs in the text of a configuration file; `file` is its name in errors. Raises ProjectInvalid."""
    if len(data) > FILE_BYTES_MAX:
        raise ProjectInvalid(f"{file}: must not be larger than {FILE_BYTES_MAX} bytes")
    root = _parse_tree(data, file)
    if not isinstance(root.value, list):
        raise ProjectInvalid(f'{file}: must be a list of APIs, each starting with "- name:"')
    if not root.value:
        raise ProjectInvalid(f"{file}: must describe at least one API")
    specs = [read_entry(entry, (file,), index) for index, entry in enumerate(root.value)]
    _check_unique(specs, root.value, file)
    return specs


def _check_unique(specs: list[ApiSpec], entries: list[Node], file: str) -> None:
    owners: dict[str, str] = {}
    for spec, entry in zip(specs, entries, strict=True):
        where = f"{file}: {spec.name} ({spec.kind})"
        if spec.name in owners.values():
            raise ProjectInvalid(f"{where}: name: is used by more than one API (line {entry.line})")
        if owner := owners.get(spec.networking.endpoint):
            problem = f"{spec.networking.endpoint} is the endpoint of {owner} already; choose another"
            raise ProjectInvalid(f"{where}: networking: endpoint: {problem} (line {entry.line})")
        owners[spec.networking.endpoint] = spec.name


def _parse_tree(data: bytes, file: str) -> Node:
    try:
        root = yaml.compose(decode(data), Loader=_Loader)
        if root is None:
            raise ProjectInvalid(f"{file}: is empty; it must describe at least one API")
        return _Converter().convert(root, 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ProjectInvalid(f"{file}: is not valid YAML: {error.problem or error.context}{position}") from None
    except _Misplaced as error:
        raise ProjectInvalid(f"{file}: {error}") from None
    except RecursionError:
        raise ProjectInvalid(f"{file}: must not be nested deeper than {DEPTH_MAX} levels") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # An escape such as "\UFFFFFFFF" raises ValueError in PyYAML's chr(), as bytes that are not UTF-8 do.
        raise ProjectInvalid(f"{file}: is not valid YAML: {' '.join(str(error).split())}") from None


class _Misplaced(Exception):
    """YAML that is valid, but not allowed in a configuration."""

    def __init__(self, problem: str, node: yaml.Node) -> None:
        super().__init__(f"{problem} (line {node.start_mark.line + 1}, column {node.start_mark.column + 1})")


class _Converter:
    """Converts PyYAML's graph, which may share nodes and have cycles, into a tree of bounded size."""

    def __init__(self) -> None:
        self._nodes_left = NODES_MAX

    def convert(self, node: yaml.Node, depth: int, key: yaml.Node | None = None) -> Node:
        self._nodes_left -= 1
        if depth > DEPTH_MAX or self._nodes_left < 0:
            limits = f"must not be nested deeper than {DEPTH_MAX} levels nor hold more than {NODES_MAX} values"
            raise _Misplaced(limits, node)
        # An error about a value points at its key.
        mark = (key or node).start_mark
        line, column = mark.line + 1, mark.column + 1
        match node:
            case MappingNode() if node.tag == f"{_TAG}map":
                return Node(dict(self._members(node, depth)), line=line, column=column)
            case SequenceNode() if node.tag == f"{_TAG}seq":
                items = [self.convert(item, depth + 1) for item in node.value]
                return Node(items, line=line, column=column)
            case ScalarNode():
                return Node(_scalar(node), "" if node.tag == f"{_TAG}null" else node.value, line, column)
            case _:
                raise _Misplaced(f"the tag {node.tag} is not supported", node)

    def _members(self, node: MappingNode, depth: int) -> Iterator[tuple[str, Node]]:
        """Yield the members of a mapping. Members merged with `<<` come first, so its own members replace them."""
        own: dict[str, Node] = {}
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                yield from self._merged(value, depth)
                continue
            name = _scalar(key) if isinstance(key, ScalarNode) else None
            if not isinstance(name, str):
                raise _Misplaced("keys must be strings; put this one in quotation marks", key)
            if name in own:
                raise _Misplaced(f'key "{name}" is duplicated', key)
            own[name] = self.convert(value, depth + 1, key)
        yield from own.items()

    def _merged(self, value: yaml.Node, depth: int) -> Iterator[tuple[str, Node]]:
        # The first of several merged maps has precedence, so it is yielded last.
        sources = reversed(value.value) if isinstance(value, SequenceNode) else [value]
        for source in sources:
            if not isinstance(source, MappingNode):
                raise _Misplaced("<< must be followed by a map or a list of maps", value)
            members = self.convert(source, depth + 1).value
            if isinstance(members, dict):
                yield from members.items()


def _scalar(node: ScalarNode) -> Scalar:
    text: str = node.value
    try:
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return _BOOLEANS[text.lower()]
            case "int":
                return _integer(text)
            case "float":
                return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
            case "str" | "merge":
                return checked_text(text)
            case _:
                raise _Misplaced(f"the tag {node.tag} is not supported", node)
    except (ValueError, KeyError, Invalid) as error:
        problem = str(error) if isinstance(error, Invalid) else f"{text[:80]!r} does not fit its tag {node.tag}"
        raise _Misplaced(problem, node) from None


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    unsigned = digits.lstrip("+-")
    # As in Cortex' reader, a leading zero means octal.
    octal = len(unsigned) > 1 and unsigned[0] == "0" and unsigned.isdecimal()
    number = int(digits, 8 if octal else 0)
    if number.bit_length() > INTEGER_BITS_MAX:
        raise ValueError("too large")
    return number
