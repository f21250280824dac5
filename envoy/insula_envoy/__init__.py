"""The edge: Envoy's one configuration for every API, and the descriptor set it transcodes with.

Owns what Envoy is told. It starts no process and knows no API: deploying one changes nothing here. Kubernetes uses the
same envoy.yaml and fills the same placeholders with envsubst.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template

__all__ = ["EdgeAddresses", "render"]


def bundled_folder() -> Path:
    """This package's folder: the Lua filters, and the descriptor set that scripts/generate_stubs.py writes into it."""
    return Path(str(files("insula_envoy")))


@dataclass(frozen=True, kw_only=True)
class EdgeAddresses:
    """The placeholders of envoy.yaml: where the edge listens, whom it calls, and its one limit.

    Addresses to listen on are IP addresses. submit and results may also be names; of a name with several addresses
    all are used. In-cluster callers expect internal_port to be 8888.
    """

    public_address: str
    public_port: int
    internal_address: str
    submit_address: str
    submit_port: int
    results_address: str
    results_port: int
    admin_port: int
    admin_address: str = "127.0.0.1"
    internal_port: int = 8888
    folder: Path = field(default_factory=bundled_folder)
    payload_bytes_max: int = 2 << 30


def render(edge: EdgeAddresses) -> str:
    """Envoy's configuration as YAML, ready for `envoy -c <file>.yaml`: Envoy goes by the file's suffix."""
    template = Template((files("insula_envoy") / "envoy.yaml").read_text(encoding="utf-8"))
    return template.substitute({name.upper(): value for name, value in asdict(edge).items()})
