"""The edge: one Envoy configuration for every API, and the descriptor set that Envoy uses for transcoding.

Owns Envoy's configuration. It starts no process and knows no API: a deployment changes nothing here. Kubernetes uses
the same envoy.yaml and fills the same placeholders with envsubst.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template

from insula.rpc.addresses import unix_socket

__all__ = ["EdgeAddresses", "bundled_folder", "render", "render_s3"]


def bundled_folder() -> Path:
    """This package's folder: the Lua filters, and the descriptor set that scripts/generate_stubs.py writes into it."""
    return Path(str(files("insula_envoy")))


@dataclass(frozen=True, kw_only=True)
class EdgeAddresses:
    """The settings of one edge: its listeners, its services, its allowed callers and its limits.

    The listeners' addresses are IP addresses. `submit`, `results` and `admin` are host:port or unix:PATH, the first two
    of one kind; all addresses of a name are used. In-cluster callers expect internal_port to be 8888. `cors_origins`
    are the origins whose pages may read answers, "*" being any. `address_requests_per_s` limits each client address; 0
    is no limit.
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
    cors_origins: Sequence[str] = ("*",)
    address_requests_per_s: int = 0

    def placeholders(self) -> Mapping[str, object]:
        """The value of each ${NAME} of envoy.yaml."""
        origins, limit = list(self.cors_origins), self.address_requests_per_s
        derived = {"cors_origins", "address_requests_per_s"}
        return {name.upper(): value for name, value in vars(self).items() if name not in derived} | {
            "ADMIN": _address(self.admin),
            "SUBMIT": _address(self.submit),
            "RESULTS": _address(self.results),
            "UPSTREAM_TYPE": "STRICT_DNS" if unix_socket(self.submit) is None else "STATIC",
            "CORS_ORIGINS": json.dumps([{"exact": origin} for origin in origins]),
            "ADDRESS_LIMIT_DISABLED": json.dumps(limit == 0),
            "ADDRESS_REQUESTS": limit or 1,
        }


def render(edge: EdgeAddresses) -> str:
    """Envoy's configuration as YAML, ready for `envoy -c <file>.yaml`: Envoy goes by the file's suffix."""
    return _template(edge.folder, "envoy.yaml").substitute(edge.placeholders())


def render_s3(address: str, port: int, upstream: str) -> str:
    """YAML for `envoy --config-yaml`: at an IP address and a port, the S3 that listens at `upstream`."""
    return _template(bundled_folder(), "s3.yaml").substitute(ADDRESS=address, PORT=port, UPSTREAM=_address(upstream))


def _template(folder: Path, name: str) -> Template:
    return Template((folder / name).read_text(encoding="utf-8"))


def _address(address: str) -> str:
    """An address in Envoy's words, as YAML; a socket that Envoy makes is for its own user."""
    if (path := unix_socket(address)) is not None:
        return json.dumps({"pipe": {"path": str(path), "mode": 0o600}})
    host, _, port = address.rpartition(":")
    return json.dumps({"socket_address": {"address": host.strip("[]"), "port_value": int(port)}})
