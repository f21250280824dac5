"""Parses each fenced block of README, CONTRIBUTING and docs/ by its language. test_readme.py runs the commands."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml

from insula.cli.main import app
from insula.project import handler_source
from insula.project.configuration import cortex_yaml
from insula.project.env_file import parse_env
from tests.fundamentals.blocks import BLOCKS, ROOT, Block

NOT_READ: dict[str, str] = {
    "docs/kubernetes.md: helm install keda kedacore/keda --namespace keda --create-namespace": "helm is not installed",
    "docs/images.md: docker compose up -d": "tests/containers runs compose.yaml with podman-compose",
}
"""Lines of commands that no test reads, and why."""


def read_yaml(block: Block) -> None:
    """A list of APIs is a cortex.yaml; anything else is of another program."""
    if "kind: AsyncAPI" in block.text:
        cortex_yaml.parse(block.text.encode(), str(block))
    else:
        yaml.safe_load(block.text)


def read_python(block: Block) -> None:
    """A handler has the methods that a deployment asks for."""
    compile(block.text, str(block), "exec")
    if block.is_handler:
        handler_source.check(block.text.encode(), str(block), "python")


def read_commands(block: Block) -> None:
    """Each line is a target of the Makefile, or a command of insula with options that it has."""
    for line in block.text.replace("\\\n", "").splitlines():
        command = line.removeprefix("$ ").partition(" #")[0].strip()
        if command and f"{block.page}: {line}" not in NOT_READ:
            name, *words = shlex.split(re.split(r" [|>] ", command)[0])
            assert name in READERS, f"{block}: nothing reads {command!r}; add it to NOT_READ with a reason"
            READERS[name](words)


def read_make(words: list[str]) -> None:
    """Each word is a target, or a variable."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [word for word in words if word not in targets and "=" not in word] == []


def read_insula(words: list[str]) -> None:
    """The command exists, and so do its options; words in brackets are its usage."""
    command = typer.main.get_command(app)
    known = getattr(command, "commands", {})
    if words and not words[0].startswith("-"):
        assert words[0] in known, f"insula has no command {words[0]}"
        command = known[words[0]]
    options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    assert [word for word in words if re.match(r"-\D", word) and word.partition("=")[0] not in options] == []


def read_variables(block: Block) -> None:
    """Each variable is a setting, or one of boto3."""
    names = [line.partition("=")[0] for line in block.text.splitlines()]
    settings = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in settings and not name.startswith("AWS_")] == []


def read_unit(block: Block) -> None:
    """A service of systemd starts a command of insula."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string(block.text)
    name, *words = shlex.split(unit["Service"]["ExecStart"])
    assert name.endswith("/insula")
    read_insula(words)


def read_kubectl(words: list[str]) -> None:
    """The subcommand has the options, and the folder of `-k` is a kustomization."""
    kubectl = Path(sys.executable).parent / "kubectl"
    verbs = [word for word in words if word in {"apply", "create", "port-forward", "rollout"}]
    depth = 2 if verbs[0] in {"create", "rollout"} else 1
    verb = words[words.index(verbs[0]) :][:depth]
    text = subprocess.run([kubectl, *verb, "--help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"(?:^| )(--?[a-z-]+)(?:=|,|$)", text, re.MULTILINE)) | {"--namespace"}
    assert [word for word in words if word.startswith("-") and word != "-" and word not in known] == []
    if "-k" in words:
        assert (ROOT / words[words.index("-k") + 1] / "kustomization.yaml").is_file()


def read_podman(words: list[str]) -> None:
    """It builds from a file of this repository, or pushes."""
    assert words[0] in {"build", "push"}
    if "-f" in words:
        assert (ROOT / words[words.index("-f") + 1]).is_file()


def read_secrets(words: list[str]) -> None:
    """Each word is the name of an API."""
    assert all(re.fullmatch("[a-z-]+", word) for word in words)


READERS: dict[str, Callable[[list[str]], None]] = {
    "curl": lambda words: None,  # noqa: ARG005 - test_readme.py runs such calls
    "insula": read_insula,
    "k8s/overlays/dev/secrets": read_secrets,
    "kubectl": read_kubectl,
    "make": read_make,
    "podman": read_podman,
}
KINDS: dict[str, Callable[[Block], object]] = {
    "python": read_python,
    "yaml": read_yaml,
    "json": lambda block: json.loads(block.text),
    "toml": lambda block: tomllib.loads(block.text),
    "ini": read_unit,
    "dotenv": lambda block: parse_env(block.text.encode()),
    "bash": read_commands,
    "": read_commands,
    "console": str,  # test_readme.py runs it
    "properties": read_variables,
    "none": str,  # tests/contract/stores/test_access.py runs it
}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_each_block_is_what_it_says(block: Block) -> None:
    if not block.is_picture:
        assert block.language in KINDS, f"{block}: no test reads {block.language!r}"
        KINDS[block.language](block)


def test_no_exception_is_left_over() -> None:
    lines = {f"{block.page}: {line}" for block in BLOCKS for line in block.text.splitlines()}
    assert NOT_READ.keys() - lines == set()
