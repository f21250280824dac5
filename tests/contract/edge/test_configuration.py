"""The one configuration file: valid, complete, and safe to fill in with envsubst."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from importlib.resources import files

import yaml
from google.protobuf.descriptor import Descriptor

from insula.v1.results_service_pb2 import DownloadWorkloadRequest
from insula.v1.submit_service_pb2 import UploadWorkloadRequest
from insula_envoy import EdgeAddresses
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


def test_a_dollar_sign_only_begins_a_placeholder() -> None:
    """string.Template and envsubst then read the file alike, and every placeholder has a field."""
    placeholders = re.findall(r"\$\{([A-Z_]+)\}", TEMPLATE)
    assert TEMPLATE.count("$") == len(placeholders)
    assert set(placeholders) == {field.name.upper() for field in fields(EdgeAddresses)}


def test_a_second_edge_on_the_same_port_does_not_start(edge: RunningEdge) -> None:
    """With SO_REUSEPORT it would, and each of the two would silently get half of the requests."""
    second = edge.configuration.with_name("second.yaml")
    text = edge.configuration.read_text(encoding="utf-8")
    second.write_text(text.replace(f"port_value: {edge.admin_port}}}", "port_value: 0}"))
    command = [str(envoy_binary()), "-c", str(second), "--disable-hot-restart"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode != 0
    assert "Address already in use" in ended.stderr


def field_paths(message: Descriptor, prefix: str = "") -> Iterator[str]:
    """Every path that a query parameter could spell, under both names of each field."""
    for field in message.fields:
        for name in {field.name, field.json_name}:
            yield prefix + name
            if field.message_type is not None:
                yield from field_paths(field.message_type, f"{prefix}{name}.")


def test_every_field_of_a_transcoded_request_is_ignored_in_the_query(edge: RunningEdge) -> None:
    """A field added to a request must be added to ignored_query_parameters, or any client could set it."""
    listener = yaml.safe_load(edge.configuration.read_text(encoding="utf-8"))["static_resources"]["listeners"][0]
    http = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    [transcoder] = [f["typed_config"] for f in http if f["name"] == "envoy.filters.http.grpc_json_transcoder"]
    settable = {
        path for kind in (UploadWorkloadRequest, DownloadWorkloadRequest) for path in field_paths(kind.DESCRIPTOR)
    }
    assert settable == set(transcoder["ignored_query_parameters"])
