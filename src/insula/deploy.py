"""Deploys one API over a channel: what `insula up` calls until it uses AdminClient itself."""

from __future__ import annotations

import grpc

from insula.admin_client import AdminClient, AdminUnavailable
from insula.admin_client import AdminRefused as DeploymentRefused
from insula.errors import StoreUnavailable
from insula.project import ApiSpec
from insula.v1.api_service_pb2 import Api

__all__ = ["DeploymentRefused", "deploy"]


def deploy(channel: grpc.Channel, spec: ApiSpec, bundle: bytes) -> Api:
    """As AdminClient.deploy, but raises StoreUnavailable where the call may be repeated."""
    try:
        return AdminClient(channel).deploy(spec, bundle)
    except AdminUnavailable as error:
        raise StoreUnavailable("", str(error), summary="the API could not be deployed, try again") from error
