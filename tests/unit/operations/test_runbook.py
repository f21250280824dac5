"""Everything that k8s/RUNBOOK.md names exists: metrics, commands and options, reasons, settings, objects, sections."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command

from insula.cli.main import app
from insula.kubernetes.metadata import WORKER, name_of, selector
from insula.settings import REDIS_URL
from tests.runbook import RUNBOOK, block, section

ROOT: Final = Path(__file__).parents[3]
TEXT: Final = RUNBOOK.read_text(encoding="utf-8")
DOCS: Final = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
PROMQL: Final = {
    "absent", "by", "histogram_quantile", "increase", "max", "rate", "sum",
    "api_name", "failed", "h", "le", "m", "status",
}  # fmt: skip
"""The functions, operators, labels and units of PromQL on the page."""
FILES: Final = sorted(path for path in (ROOT / "k8s").rglob("*") if path.is_file() and path != RUNBOOK)
MANIFESTS: Final = "".join(path.read_text(encoding="utf-8") for path in FILES)
OBJECTS: Final = {*re.findall(r"\bname: (insula-[a-z0-9]+)", MANIFESTS), "keda-operator", "node-1"}
"""The names of the parts' objects, and of two that are not Insula's."""
USERS: Final = {f"insula-{path.stem}" for path in FILES if path.suffix == ".acl"}
"""The users of the dev overlay's Redis."""
NOT_OURS: Final = {"FLUSHALL", "READY", "PAUSED", "True"}
"""Words in capitals of Redis and Kubernetes."""
SITUATIONS: Final = (
    "The queue grows", "Workers fail", "Redis is full", "Redis is down", "Redis is slow", "S3 is down",
    "Callers get 429", "Callers get 503", "The edge is down", "Poison workloads", "A drain is stuck", "A disk is full",
    "A node is lost", "Scale to zero does not wake", "Upgrade", "Roll back", "Back up Redis", "Restore Redis",
    "A Redis without appendfsync always", "Rotate the passwords of Redis", "Rotate the keys of S3",
    "Rotate the admin token",
)  # fmt: skip


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def commands(program: str) -> Iterator[list[str]]:
    """Yield the words of each command of the program, in blocks and in the text."""
    lines = [line for text in blocks("bash") for line in text.splitlines()]
    for line in [*lines, *re.findall(r"`([^`\n]+)`", TEXT)]:
        if line.startswith(f"{program} "):
            yield shlex.split(line)


def test_no_situation_is_missing_and_each_says_what_not_to_do() -> None:
    assert tuple(re.findall(r"^## (.+)$", TEXT, re.MULTILINE)) == SITUATIONS
    assert [title for title in SITUATIONS if "**Not.**" not in section(title)] == []


def test_its_links_lead_to_sections() -> None:
    titles = {re.sub(r"[^a-z0-9 ]", "", title.lower()).replace(" ", "-") for title in SITUATIONS}
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= titles


def test_its_metrics_exist() -> None:
    exist = set(re.findall(r"^\| `(\w+)`", DOCS["metrics"], re.MULTILINE))
    exist |= {f"{name}_bucket" for name in exist}
    named = {word for query in blocks("promql") for word in re.findall(r"[a-zA-Z_]+", query)} - PROMQL
    assert named <= exist
    assert {"cortex_async_queued", "cortex_async_latency_bucket"} <= named


def test_its_commands_and_their_options_exist() -> None:
    root: Any = get_command(app)
    found = list(commands("insula"))
    assert len(found) > 5
    for _, name, *words in found:
        options = {option for each in root.commands[name].params for option in (*each.opts, *each.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= options, name


@pytest.mark.parametrize("words", [words for words in commands("kubectl") if len(words) > 1], ids=" ".join)
def test_its_objects_of_kubernetes_exist(words: list[str]) -> None:
    """A name is that of a part, of a user, or of an object of an API, `api-<name>`, and its pods."""
    named = [word.rpartition("/")[2] for word in words if re.fullmatch(r"[a-z]+/[a-z][a-z0-9-]*", word)]
    named += [word for word in words if re.fullmatch(r"(insula|api)-[a-z0-9-]+|[a-z]+-\d", word)]
    assert [name for name in named if name not in OBJECTS | USERS and not name.startswith(name_of("my-api"))] == []
    if "-k" in words:
        assert (ROOT / words[words.index("-k") + 1] / "kustomization.yaml").exists()
    for label in (word for word in words if re.fullmatch(r"[a-z.]+/[a-z-]+=[a-z-]+", word)):
        name, _, value = label.partition("=")
        assert label == f"{name}={selector('my-api', WORKER).get(name)}" or f"{name}: {value}" in MANIFESTS


def test_its_reasons_and_settings_exist() -> None:
    reasons = set(re.findall(r"^\| (?:.* \| )?`([A-Z_0-9]+)` \|", DOCS["errors"], re.MULTILINE))
    settings = set(re.findall(r"`(INSULA_[A-Z_0-9]+)`", DOCS["settings"]))
    assert "WORKER_LOST" in reasons
    assert "QUEUE_FULL" in reasons
    assert REDIS_URL.name in settings
    named = set(re.findall(r"`([A-Z][A-Z0-9_]{3,})`", TEXT)) - NOT_OURS
    named |= set(re.findall(r"\bINSULA_[A-Z_]+", TEXT))
    assert named <= reasons | settings | {"INSULA_ADMIN"}


def test_its_backup_turns_rewrites_on_again() -> None:
    """The commands themselves are run by tests/contract/operations/test_backup.py."""
    first, *_, last = block("Back up Redis").splitlines()
    assert first == "valkey-cli CONFIG SET auto-aof-rewrite-percentage 0"
    assert last == "valkey-cli CONFIG SET auto-aof-rewrite-percentage 100"
