"""Envoy's configuration file is valid and complete."""

from __future__ import annotations

import re
import subprocess
from importlib.resources import files

from insula_envoy import TEMPLATES
from tests.contract.edge.running_edge import RunningEdge, envoy_binary

TEMPLATE = "".join((files("insula_envoy") / f"{name}.yaml").read_text(encoding="utf-8") for name in TEMPLATES)


def test_envoy_accepts_the_configuration(edge: RunningEdge) -> None:
    """`--mode validate` loads the file with the shipped descriptor. An operator can run it before a deploy."""
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(edge.configuration)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr


def test_envoy_logs_no_warning(edge: RunningEdge) -> None:
    """Envoy would warn about a deprecated field, or about a default that will change."""
    assert edge.log.read_text(encoding="utf-8") == ""


def test_each_dollar_sign_begins_a_placeholder_that_has_a_value(edge: RunningEdge) -> None:
    """Each `$` begins a placeholder `${NAME}` of string.Template, and the edge has a value for each name."""
    placeholders = re.findall(r"\$\{([A-Z_]+)\}", TEMPLATE)
    assert TEMPLATE.count("$") == len(placeholders)
    assert set(placeholders) == edge.addresses.placeholders().keys()


def test_a_second_edge_on_the_same_port_does_not_start(edge: RunningEdge) -> None:
    """With SO_REUSEPORT the second one would start, and each edge would get half of the requests."""
    second = edge.configuration.with_name("second.yaml")
    text = edge.configuration.read_text(encoding="utf-8")
    second.write_text(text.replace(f"port_value: {edge.admin_port}}}", "port_value: 0}"))
    command = [str(envoy_binary()), "-c", str(second), "--disable-hot-restart"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode != 0
    assert "Address already in use" in ended.stderr
