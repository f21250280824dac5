"""The worker's settings, read from its environment."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from insula.cache import cache_folder, home_of
from insula.process.isolation import Isolation
from insula.settings import StoreSettings, admin_token
from insula.variables import Choice, Location, Text, Whole
from insula_worker.environments.package_settings import of_the_machine

API: Final = Text("INSULA_API", "name of the API that this worker serves", required=True)
WORKER: Final = Text("INSULA_WORKER", "name of the worker, unique while it runs; by default the host name")
LISTEN: Final = Text("INSULA_LISTEN", "`host:port` or `unix:PATH` of WorkerService", required=True)
ADVERTISE: Final = Text(
    "INSULA_ADVERTISE", "`host:port` or `unix:PATH` at which others reach WorkerService; by default INSULA_LISTEN"
)
METRICS_LISTEN: Final = Text("INSULA_METRICS_LISTEN", "`host:port` or `unix:PATH` for Prometheus; none without it")
ISOLATION: Final = Choice(
    "INSULA_ISOLATION",
    "`auto`: isolate handlers as far as the kernel allows. `required`: refuse to start if the kernel does not allow "
    "all of it. `off`: do not isolate them",
    (*Isolation,),
)
START_TIMEOUT_S: Final = Whole("INSULA_START_TIMEOUT_S", "seconds that a handler's `__init__` may take", 1800)
GRACE_S: Final = Whole("INSULA_GRACE_S", "seconds that running workloads have to end after SIGTERM", 30)
SCRATCH: Final = Location(
    "INSULA_SCRATCH", "folder for unpacked bundles, used by this worker alone", "`insula-NAME` in the temporary folder"
)
BAKED: Final = Location(
    "INSULA_BAKED", "read-only folder of environments in a container image, searched before `INSULA_CACHE`", "none"
)
HOSTS_FILE: Final = Location("INSULA_HOSTS_FILE", "file that handlers see as `/etc/hosts`", "that of the machine")
HIDDEN: Final = Text("INSULA_HIDDEN", "JSON list of folders that handlers do not see", "[]")
HANDLER_PREFIX: Final = "INSULA_HANDLER_"
HOMELESS: Final = {"HOME": "/tmp", "PIP_NO_CACHE_DIR": "1"}  # noqa: S108 - the handler's own
"""Variables of handlers if the worker's user has no home folder. Libraries write to HOME. A pip cache in it would be
copied for each handler process."""
WITHHELD_PREFIXES: Final = ("AWS_", "CORTEX_", "INSULA_", "PYTHON", "VIRTUAL_ENV")
"""Prefixes of variables that a handler must not inherit: the worker's S3 keys, settings and Python interpreter."""


@dataclass(frozen=True)
class Settings:
    """The settings of a worker. `listen` and `metrics_listen` are host:port or unix:PATH.

    Without `metrics_listen`, metrics are not served. `advertised` is the address that others use instead of `listen`.
    `admin_token` is the token that callers of WorkerService must send. It is None on a Unix socket.
    `scratch` is a folder of this worker alone. `baked` is the folder of environments in a container image, or None.
    `hidden` are folders that no handler may see.

    `handler_environment` has the handler's default variables, which a project may override. It holds the worker's
    variables without WITHHELD_PREFIXES and without those that change where packages are installed. It also holds AWS_X
    for each INSULA_HANDLER_AWS_X: the S3 identity of handlers.
    """

    stores: StoreSettings
    api: str
    worker: str
    listen: str
    advertised: str
    admin_token: str | None
    cache: Path
    scratch: Path
    baked: Path | None
    hosts_file: Path | None
    isolation: Isolation
    hidden: tuple[Path, ...]
    handler_environment: Mapping[str, str]
    start_timeout: timedelta
    grace: timedelta
    metrics_listen: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings. Raises SettingInvalid, which names the variable."""
        api = API.read(environment)
        worker = WORKER.read(environment) or socket.gethostname()
        scratch = SCRATCH.read(environment) or Path(tempfile.gettempdir()) / f"insula-{worker}"
        listen = LISTEN.read(environment)
        return cls(
            stores=StoreSettings.read(environment),
            api=api,
            worker=worker,
            listen=listen,
            advertised=ADVERTISE.read(environment) or listen,
            admin_token=admin_token(environment, listen),
            cache=cache_folder(environment, Path(f"{scratch}.cache").absolute()),
            scratch=scratch,
            baked=BAKED.read(environment),
            hosts_file=HOSTS_FILE.read(environment),
            isolation=Isolation(ISOLATION.read(environment)),
            hidden=tuple(map(Path, json.loads(HIDDEN.read(environment)))),
            handler_environment=handler_environment(environment),
            start_timeout=timedelta(seconds=START_TIMEOUT_S.read(environment)),
            grace=timedelta(seconds=GRACE_S.read(environment)),
            metrics_listen=METRICS_LISTEN.read(environment) or None,
        )


def handler_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the default variables of handlers, from the worker's environment."""
    own = of_the_machine(environment)
    inherited = {name: value for name, value in own.items() if not name.startswith(WITHHELD_PREFIXES)}
    given_prefix = f"{HANDLER_PREFIX}AWS_"
    given = {
        name.removeprefix(HANDLER_PREFIX): value for name, value in environment.items() if name.startswith(given_prefix)
    }
    if home_of(environment) is None:
        inherited |= HOMELESS
    return inherited | given
