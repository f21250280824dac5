"""Deploys one API: its configuration and its bundle, streamed to ApiService. `insula up` and `insula deploy` use it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import grpc

from insula.errors import InsulaError, ProjectInvalid, StoreUnavailable
from insula.project import ApiSpec
from insula.v1.api_service_pb2 import Api, DeployApiRequest
from insula.v1.api_service_pb2_grpc import ApiServiceStub

PIECE_BYTES: Final = 512 * 1024
"""Of the bundle per message; the contract allows 1 MiB."""
DEPLOY_TIMEOUT: Final = timedelta(seconds=60)


class DeploymentRefused(InsulaError):
    """The registry did not take the API; the text says why."""


def deploy(channel: grpc.Channel, spec: ApiSpec, bundle: bytes) -> Api:
    """Register the API, or its new version; the same configuration and bundle again change nothing.

    Raises ProjectInvalid, DeploymentRefused, or StoreUnavailable, after which the call may be repeated.
    """
    stub = ApiServiceStub(channel)
    try:
        response = stub.DeployApi(_messages(spec, bundle), timeout=DEPLOY_TIMEOUT.total_seconds())
    except grpc.RpcError as error:
        raise _translate(error) from error
    return response.api


def _messages(spec: ApiSpec, bundle: bytes) -> Iterator[DeployApiRequest]:
    yield DeployApiRequest(spec_json=spec.to_json(), bundle=bundle[:PIECE_BYTES])
    for start in range(PIECE_BYTES, len(bundle), PIECE_BYTES):
        yield DeployApiRequest(bundle=bundle[start : start + PIECE_BYTES])


def _translate(error: grpc.RpcError) -> InsulaError:
    code, details = error.code(), error.details() or ""
    match code:
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
            return StoreUnavailable("", details, summary="the API could not be deployed, try again")
        case grpc.StatusCode.INVALID_ARGUMENT:
            return ProjectInvalid(details)
        case _:
            return DeploymentRefused(f"the API was not deployed: {details} ({code.name})")
