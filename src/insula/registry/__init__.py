"""The registry of APIs: which exist, at which version and endpoint, and which workers serve them.

An API's registration and the reports of its workers are hashes under its own hash tag. Two small hashes list the names
and the owner of each endpoint. No step touches two keys, so each key may be in any slot of a Redis Cluster.

    insula:apis                   hash: name -> the mark of its last deployment
    insula:endpoints              hash: endpoint -> "<claimed_ms> <API>"
    insula:{api}:registration     hash: the fields of Registration, and those of other versions of Insula
    insula:{api}:workers          hash, TTL: worker -> DescribeWorkerResponse
"""

from insula.registry.cache import RegistryCache
from insula.registry.registration import Registration, version_of
from insula.registry.registry import REPORT_S, Registry

__all__ = ["REPORT_S", "Registration", "Registry", "RegistryCache", "version_of"]
