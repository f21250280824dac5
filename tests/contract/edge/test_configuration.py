"""The one configuration file: valid, complete, and safe to fill in with envsubst."""

from __future__ import annotations

import re
import subprocess
from importlib.resources import files

from tests.contract.edge.running_edge import RunningEdge, envoy_binary

TEMPLATE = (files("insula_envoy") / "envoy.yaml").read_text(encoding="utf-8")


def test_envoy_accepts_the_configuration(edge: RunningEdge) -> None:
    """`--mode validate` loads the file with the shipped descriptor, as a deployment can do before it goes live."""
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(edge.configuration)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr


def test_envoy_has_nothing_to_warn_about(edge: RunningEdge) -> None:
    """No field is deprecated and no default is about to change."""
    assert edge.log.read_text(encoding="utf-8") == ""


def test_a_dollar_sign_only_begins_a_placeholder(edge: RunningEdge) -> None:
    """string.Template and envsubst then read the file alike, and every placeholder has a value."""
    placeholders = re.findall(r"\$\{([A-Z_]+)\}", TEMPLATE)
    assert TEMPLATE.count("$") == len(placeholders)
    assert set(placeholders) == edge.addresses.placeholders().keys()


def test_a_second_edge_on_the_same_port_does_not_start(edge: RunningEdge) -> None:
    """With SO_REUSEPORT it would, and each of the two would silently get half of the requests."""
    second = edge.configuration.with_name("second.yaml")
    text = edge.configuration.read_text(encoding="utf-8")
    second.write_text(text.replace(f"port_value: {edge.admin_port}}}", "port_value: 0}"))
    command = [str(envoy_binary()), "-c", str(second), "--disable-hot-restart"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode != 0
    assert "Address already in use" in ended.stderr
