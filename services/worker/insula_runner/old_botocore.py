"""Lets an old boto3 find the S3 that the environment names.

botocore reads AWS_ENDPOINT_URL since 1.31 (boto3 1.28, July 2023); handlers of Cortex' days pin older ones, which would
take the local S3's keys to Amazon. `install` has their clients created with that endpoint as the default.
https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
"""

from __future__ import annotations

import importlib.machinery
import sys
from typing import Any, Callable, Mapping, Optional

MODULE = "botocore.session"
READS_IT_SINCE = (1, 31)
VARIABLE = "AWS_ENDPOINT_URL"


class Finder:
    """Finds MODULE as everybody else does, and has it changed once it is loaded."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load: Callable[[Any], None] = spec.loader.exec_module

            def load_and_change(module: Any) -> None:
                load(module)
                default_endpoint(module, self._environment)

            spec.loader.exec_module = load_and_change  # type: ignore[method-assign]  # this one loader, of this one module
        return spec


def install(environment: Mapping[str, str]) -> None:
    """Change botocore when it is imported, if the environment names an endpoint."""
    if any(name.startswith(VARIABLE) for name in environment):
        sys.meta_path.insert(0, Finder(environment))


def default_endpoint(session: Any, environment: Mapping[str, str]) -> None:
    """Have the module's Session create clients with the endpoint of the environment, if it would not read it itself."""
    if version_of(session.__version__) >= READS_IT_SINCE:
        return
    create: Callable[..., Any] = session.Session.create_client

    def create_client(self: Any, service_name: str, *args: Any, **kwargs: Any) -> Any:
        # Positional after the name: region, api_version, use_ssl, verify, endpoint_url.
        if len(args) < 5 and kwargs.get("endpoint_url") is None:
            kwargs["endpoint_url"] = endpoint_of(service_name, environment)
        return create(self, service_name, *args, **kwargs)

    session.Session.create_client = create_client


def endpoint_of(service: str, environment: Mapping[str, str]) -> Optional[str]:
    """Return the endpoint of one service: its own variable wins."""
    own = f"{VARIABLE}_{service.upper().replace('-', '_')}"
    return environment.get(own) or environment.get(VARIABLE) or None


def version_of(text: str) -> Any:
    """Return major and minor of a version; one that cannot be read is taken for new."""
    try:
        major, minor = text.split(".")[:2]
        return int(major), int(minor)
    except ValueError:
        return READS_IT_SINCE
