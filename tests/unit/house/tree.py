"""The repository's files, as listed by git, and the syntax trees of its Python files, for the tests of this folder."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
OURS = ("src/", "services/", "envoy/", "local/")
_NEVER = {".git", ".venv", ".insula", "build", "dist", "__pycache__", "node_modules"}


@cache
def files() -> tuple[Path, ...]:
    """Return every file that is tracked, or new and not ignored. Without git, return all files."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        return _walk()
    paths = [ROOT / name.decode() for name in done.stdout.split(b"\0") if name]
    return tuple(path for path in paths if path.is_file()) if done.returncode == 0 else _walk()


def _walk() -> tuple[Path, ...]:
    paths = (path for path in ROOT.rglob("*") if path.is_file())
    return tuple(path for path in paths if not any(_unlisted(part) for part in path.relative_to(ROOT).parts))


def _unlisted(part: str) -> bool:
    return part in _NEVER or part.endswith("_cache") or part == ".hypothesis"


def name(path: Path) -> str:
    """Return the path relative to the repository's root."""
    return path.relative_to(ROOT).as_posix()


def generated(path: Path) -> bool:
    """Whether `make protos` or `make locks` writes this file."""
    return "_pb2" in path.name or path.suffix == ".binpb" or name(path).startswith("requirements/")


def python_files(*prefixes: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield name and syntax tree of each hand-written Python file below `prefixes`; without prefixes, of all."""
    for path in files():
        if path.suffix == ".py" and not generated(path) and (not prefixes or name(path).startswith(prefixes)):
            yield name(path), _parsed(path)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def strings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield every string in the code, including parts of f-strings, without docstrings."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node


def dotted(node: ast.AST) -> str:
    """Return `os.environ` for the expression os.environ; an empty text if it is not a chain of names."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            before = dotted(value)
            return f"{before}.{attr}" if before else ""
        case _:
            return ""
