"""Builds configuration files for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

from insula.errors import ProjectInvalid
from insula.project.configuration.cortex_yaml import parse
from insula.project.configuration.spec import ApiSpec

MINIMAL = """\
- name: my-api
  kind: AsyncAPI
  handler:
    type: python
    path: handler.py
"""
HANDLER = "class Handler:\n    def handle_async(self, payload):\n        return {}\n"


def spec(more: str = "", minimal: str = MINIMAL) -> ApiSpec:
    """Return the API of a minimal file followed by `more`."""
    (only,) = parse((minimal + more).encode(), "cortex.yaml")
    return only


def refusal(text: str | bytes) -> str:
    """Return the error text of a configuration, which must be refused."""
    try:
        parse(text if isinstance(text, bytes) else text.encode(), "cortex.yaml")
    except ProjectInvalid as error:
        return str(error)
    raise AssertionError(f"was accepted: {text!r}")


def project(root: Path, files: dict[str, str], config: str = MINIMAL) -> Path:
    """Write a project and return its directory."""
    for name, text in {"cortex.yaml": config, "handler.py": HANDLER, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
