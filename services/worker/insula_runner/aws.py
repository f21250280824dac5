"""Which S3 a botocore client uses: clients with the keys of the stack use the stack's S3, all others use Amazon.

AWS_ENDPOINT_URL_S3 has the address of the stack's S3. It must apply only to S3, and only to clients with the stack's
keys: a client with the user's own keys is meant for the user's account. botocore reads the variable since 1.31 (boto3
1.28, July 2023). Projects of Cortex' time pin older versions, which would send the stack's keys to Amazon. For
these versions, this module sets the endpoint of each client.
https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
"""

from __future__ import annotations

import importlib
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any, Callable, Mapping, Optional, Tuple

READS_IT_SINCE = (1, 31)
VARIABLE = "AWS_ENDPOINT_URL"
VARIABLE_S3 = "AWS_ENDPOINT_URL_S3"
GIVEN_VARIABLE = (
    "INSULA_GIVEN_S3"  # access key and endpoint of the stack's S3; not set if the project has an S3 of its own
)
CREATORS = {"botocore.client": "ClientCreator", "aiobotocore.client": "AioClientCreator"}


def find_changed(name: str, path: Any, target: Any, environment: Mapping[str, str]) -> Optional[ModuleSpec]:
    """Return the spec of the module `name`, a key of CREATORS. Its loader also calls `change` for its class."""
    spec = PathFinder.find_spec(name, path, target)
    if spec is not None and spec.loader is not None:
        load: Callable[[Any], None] = spec.loader.exec_module

        def load_and_change(module: Any) -> None:
            load(module)
            version = version_of(importlib.import_module("botocore").__version__)
            change(getattr(module, CREATORS[name]), version, environment)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]  # this one loader, of this one module
    return spec


def change(creator: Any, version: Tuple[int, int], environment: Mapping[str, str]) -> None:
    """Change the class `creator`, so that its clients use the stack's S3 or Amazon, as the module's docstring says.

    A client that is created with the argument `endpoint_url` keeps this endpoint.

    The environment is read for each client, because the handler may set endpoints at any time.
    """
    create: Callable[..., Any] = creator.create_client

    def create_client(self: Any, *args: Any, **kwargs: Any) -> Any:
        service = kwargs.get("service_name")  # botocore names all arguments
        if isinstance(service, str) and kwargs.get("endpoint_url") is None:
            if is_for_amazon(service, kwargs.get("credentials"), environment):
                if version >= READS_IT_SINCE:
                    kwargs["client_config"] = without_endpoints(kwargs.get("client_config"))
            elif version < READS_IT_SINCE:
                kwargs["endpoint_url"] = endpoint_of(service, environment)
        return create(self, *args, **kwargs)

    creator.create_client = create_client


def is_for_amazon(service: str, credentials: Any, environment: Mapping[str, str]) -> bool:
    """Whether this is a client of S3 whose keys are not those of the stack's S3."""
    key, _, endpoint = environment.get(GIVEN_VARIABLE, "").partition(" ")
    if service != "s3" or credentials is None or not key or environment.get(VARIABLE_S3) != endpoint:
        return False
    # Credentials of a role, which are refreshed, have no attribute `access_key`.
    return bool(credentials.__dict__.get("access_key") != key)


def without_endpoints(config: Any) -> Any:
    """Return the client's configuration, changed so that the client ignores endpoints in environment variables."""
    made = importlib.import_module("botocore.config").Config(ignore_configured_endpoint_urls=True)
    return made if config is None else config.merge(made)


def endpoint_of(service: str, environment: Mapping[str, str]) -> Optional[str]:
    """Return the endpoint from AWS_ENDPOINT_URL_<SERVICE>, else from AWS_ENDPOINT_URL; None if neither is set."""
    own = f"{VARIABLE}_{service.upper().replace('-', '_')}"
    return environment.get(own) or environment.get(VARIABLE) or None


def version_of(text: str) -> Tuple[int, int]:
    """Return the major and minor number of botocore's version; READS_IT_SINCE if the text cannot be parsed."""
    try:
        major, minor = text.split(".")[:2]
        return int(major), int(minor)
    except ValueError:
        return READS_IT_SINCE
