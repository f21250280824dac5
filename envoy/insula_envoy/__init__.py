"""The edge: Envoy's one configuration for every API, and the descriptor set it transcodes with.

Owns what Envoy is told. It starts no process and knows no API: deploying one changes nothing here. Kubernetes uses the
same envoy.yaml and fills the same placeholders with envsubst.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template

from insula.addresses import unix_socket

__all__ = ["EdgeAddresses", "render", "render_s3"]


def bundled_folder() -> Path:
    """This package's folder: the Lua filters, and the descriptor set that scripts/generate_stubs.py writes into it."""
    return Path(str(files("insula_envoy")))


@dataclass(frozen=True, kw_only=True)
class EdgeAddresses:
    """The placeholders of envoy.yaml: where the edge listens, whom it calls, and its one limit.

    The listeners' addresses are IP addresses. `submit`, `results` and `admin` are host:port or unix:PATH, the first two
    of one kind; all addresses of a name are used. In-cluster callers expect internal_port to be 8888.
    """

    public_address: str
    public_port: int
    internal_address: str
    submit: str
    results: str
    admin: str
    internal_port: int = 8888
    folder: Path = field(default_factory=bundled_folder)
    payload_bytes_max: int = 2 << 30


def render(edge: EdgeAddresses) -> str:
    """Envoy's configuration as YAML, ready for `envoy -c <file>.yaml`: Envoy goes by the file's suffix."""
    values = {name.upper(): value for name, value in asdict(edge).items()}
    values |= {"ADMIN": _address(edge.admin), "SUBMIT": _address(edge.submit), "RESULTS": _address(edge.results)}
    values["UPSTREAM_TYPE"] = "STRICT_DNS" if unix_socket(edge.submit) is None else "STATIC"
    return _template("envoy.yaml").substitute(values)


def render_s3(address: str, port: int, upstream: str) -> str:
    """YAML for `envoy --config-yaml`: at an IP address and a port, the S3 that listens at `upstream`."""
    return _template("s3.yaml").substitute(ADDRESS=address, PORT=port, UPSTREAM=_address(upstream))


def _template(name: str) -> Template:
    return Template((files("insula_envoy") / name).read_text(encoding="utf-8"))


def _address(address: str) -> str:
    """An address in Envoy's words, as YAML; a socket that Envoy makes is for its own user."""
    if (path := unix_socket(address)) is not None:
        return json.dumps({"pipe": {"path": str(path), "mode": 0o600}})
    host, _, port = address.rpartition(":")
    return json.dumps({"socket_address": {"address": host.strip("[]"), "port_value": int(port)}})
