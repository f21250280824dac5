"""The edge: one Envoy configuration for every API, and the descriptor set that Envoy uses for transcoding.

Only renders configuration; it starts no process. The configuration has no names of APIs, so a deployment does not
change it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from insula.rpc.addresses import unix_socket

__all__ = ["EdgeAddresses", "bundled_folder", "render", "render_s3", "render_s3_stream"]

TEMPLATES: Final = ("envoy", "in_cluster", "clusters")


def bundled_folder() -> Path:
    """Return this package's folder, with the Lua filters and the descriptor set of scripts/generate_stubs.py."""
    return Path(str(files("insula_envoy")))


@dataclass(frozen=True, kw_only=True)
class EdgeAddresses:
    """The settings of one edge: its listeners, its services, its CORS origins and its limits.

    The listeners' addresses are IP addresses. Those of the services and `admin` are host:port or unix:PATH, of the
    same kind for `submit` and `results`. A service has one address for each of its processes; calls spread over them,
    and over all addresses of a host name. HTTP requests go to `submit_http` and `results_http`, which are unix:PATH
    (insula.rpc.http1), except for payloads over 32 KiB or of unknown length. If these two are empty, all requests go to
    `submit` and `results` over gRPC. In-cluster callers expect that internal_port is 8888. `cors_origins` are the
    origins whose pages may read replies; "*" is any. `address_requests_per_s` limits each client address; 0 means no
    limit.
    """

    public_address: str
    public_port: int
    internal_address: str
    submit: Sequence[str]
    results: Sequence[str]
    admin: str
    submit_http: Sequence[str] = ()
    results_http: Sequence[str] = ()
    internal_port: int = 8888
    folder: Path = field(default_factory=bundled_folder)
    payload_bytes_max: int = 2 << 30
    cors_origins: Sequence[str] = ("*",)
    address_requests_per_s: int = 0

    def placeholders(self) -> Mapping[str, object]:
        """Return the value of each ${NAME} in the templates."""
        origins, limit = list(self.cors_origins), self.address_requests_per_s
        derived = {"cors_origins", "address_requests_per_s"}
        return {name.upper(): value for name, value in vars(self).items() if name not in derived} | {
            "ADMIN": _address(self.admin),
            "SUBMIT": _endpoints(self.submit),
            "RESULTS": _endpoints(self.results),
            "SUBMIT_HTTP": _endpoints(self.submit_http),
            "RESULTS_HTTP": _endpoints(self.results_http),
            "SUBMIT_CLUSTER": "submit_http" if self.submit_http else "submit",
            "RESULTS_CLUSTER": "results_http" if self.results_http else "results",
            "UPSTREAM_TYPE": "STRICT_DNS" if unix_socket(self.submit[0]) is None else "STATIC",
            "CORS_ORIGINS": json.dumps([{"exact": origin} for origin in origins]),
            "ADDRESS_LIMIT_DISABLED": json.dumps(limit == 0),
            "ADDRESS_REQUESTS": limit or 1,
        }


def render(edge: EdgeAddresses) -> str:
    """Return Envoy's configuration as YAML, for `envoy -c FILE`. The name of FILE must end with .yaml."""
    return "".join(_template(edge.folder, f"{name}.yaml").substitute(edge.placeholders()) for name in TEMPLATES)


def render_s3(address: str, port: int, upstream: str) -> str:
    """Return YAML for `envoy --config-yaml`: a listener at an IP address and a port, for the S3 at `upstream`."""
    return _template(bundled_folder(), "s3.yaml").substitute(ADDRESS=address, PORT=port, UPSTREAM=_address(upstream))


def render_s3_stream(address: str, port: int, upstream: str) -> str:
    """Return YAML as `render_s3` does, but the listener forwards TCP bytes without parsing HTTP."""
    template = _template(bundled_folder(), "s3_stream.yaml")
    return template.substitute(ADDRESS=address, PORT=port, UPSTREAM=_address(upstream))


def _template(folder: Path, name: str) -> Template:
    return Template((folder / name).read_text(encoding="utf-8"))


def _endpoints(addresses: Sequence[str]) -> str:
    return f"[{', '.join(f'{{endpoint: {{address: {_address(address)}}}}}' for address in addresses)}]"


def _address(address: str) -> str:
    """Return host:port or unix:PATH in Envoy's format, as YAML. Sockets that Envoy makes get the mode 0600."""
    if (path := unix_socket(address)) is not None:
        return json.dumps({"pipe": {"path": str(path), "mode": 0o600}})
    host, _, port = address.rpartition(":")
    return json.dumps({"socket_address": {"address": host.strip("[]"), "port_value": int(port)}})
