"""The registry: the deployed APIs with their version and endpoint, and the workers of each API.

An API's registration and its workers' reports are hashes with the API's hash tag. Two small hashes list the names of
all APIs and the owner of each endpoint. Each step uses one key only, so a key may be in any slot of a Redis Cluster.

    insula:apis                   hash: name -> a mark, which changes with each deployment
    insula:endpoints              hash: endpoint -> "<claimed_ms> <API>"
    insula:{api}:registration     hash: the fields of Registration, and those of other versions of Insula
    insula:{api}:workers          hash, TTL: worker -> DescribeWorkerResponse
"""

from insula.registry.cache import RegistryCache
from insula.registry.registration import Registration, version_of
from insula.registry.registry import REPORT_S, Registry

__all__ = ["REPORT_S", "Registration", "Registry", "RegistryCache", "version_of"]
