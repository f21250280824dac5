"""`insula up`: run projects on this machine. Reads and checks the command line; `insula_local` runs the stack.

Exit codes: 0 stopped after it was up, 1 a part did not start or an unexpected error, 2 refused before anything was
started, 128 + the signal's number if a signal stopped it before it was up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from insula.process.isolation import Isolation
from insula.telemetry.log_lines import LogForm

_EXIT_REFUSED: Final = 2


Projects = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PROJECT_DIR]...", help="Project directories. Default: the current directory."),
]
Data = Annotated[
    Path,
    typer.Option("--data", metavar="DIR", help="Data directory: accepted workloads, results, deployed APIs, logs."),
]
PublicPort = Annotated[int, typer.Option("--public-port", min=1, max=65535, help="Port of the public listener.")]
PublicAddress = Annotated[
    str,
    typer.Option(
        "--public-address",
        metavar="IP",
        help="Address of the public listener. 0.0.0.0 lets other machines in, and needs --allow-anyone-to-call.",
    ),
]
AnyoneMayCall = Annotated[
    bool,
    typer.Option(
        "--allow-anyone-to-call",
        help="Accept that other machines can call all APIs: there is no authentication yet.",
    ),
]
CorsOrigins = Annotated[
    list[str] | None,
    typer.Option(
        "--cors-origin",
        metavar="ORIGIN",
        help="Origin whose web pages may call and read answers. May be repeated. Default: every origin.",
    ),
]
RequestsPerAddress = Annotated[
    int,
    typer.Option(
        "--requests-per-address",
        metavar="N",
        min=0,
        help="Most requests a second from each client address; further ones get 429. 0: no limit.",
    ),
]
InternalAddress = Annotated[
    str,
    typer.Option(
        "--internal-address",
        metavar="IP",
        help="Loopback address for port 8888, S3 and metrics. Two stacks on a machine need two, such as 127.0.0.2.",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one line of JSON on stdout once every API is ready or failing: the object of run/stack.json.",
    ),
]
Log = Annotated[
    LogForm,
    typer.Option("--log", help="Form of the workers' log lines on stderr. plain: for people. json: for programs."),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Also print the lines that a worker logs for each workload, phase and package."
    ),
]
Watch = Annotated[bool, typer.Option("--watch", help="Deploy a project again whenever one of its files is saved.")]
Yes = Annotated[
    bool, typer.Option("--yes", help="Do not ask before the dependencies.sh of a project runs on this machine.")
]
Replicas = Annotated[
    list[str] | None,
    typer.Option(
        "--replicas",
        metavar="API=N",
        help="Workers of this API. May be repeated, once for each API. Default: one.",
    ),
]
Processes = Annotated[
    str,
    typer.Option(
        "--processes",
        metavar="N",
        help="Processes of submit, and as many of results. Each uses one core at most.",
    ),
]
Isolated = Annotated[
    Isolation,
    typer.Option(
        "--isolation",
        help="auto: isolate handlers as far as the kernel allows. off: do not isolate them. "
        "required: refuse to start if the kernel does not allow all of it.",
    ),
]


def up(
    projects: Projects = None,
    data: Data = Path(".insula"),
    public_port: PublicPort = 8080,
    public_address: PublicAddress = "127.0.0.1",
    anyone_may_call: AnyoneMayCall = False,
    cors_origins: CorsOrigins = None,
    address_requests_per_s: RequestsPerAddress = 0,
    internal_address: InternalAddress = "127.0.0.1",
    as_json: AsJson = False,
    log_form: Log = LogForm.PLAIN,
    verbose: Verbose = False,
    watch: Watch = False,
    yes: Yes = False,
    replicas: Replicas = None,
    processes: Processes = "1",
    isolation: Isolated = Isolation.AUTO,
) -> None:
    """Start Envoy, Valkey, SeaweedFS, the services and the APIs of these projects. Ctrl-C stops them."""
    from insula.cli.consent import can_ask, confirm_scripts
    from insula.errors import ProjectInvalid
    from insula.printing import note
    from insula.project.configuration.effects import ineffective_keys, warning
    from insula_local import preflight
    from insula_local.settings import Refused, Settings
    from insula_local.up import run

    settings = Settings(
        data.absolute(),
        public_port,
        public_address,
        internal_address,
        as_json,
        watch=watch,
        log_form=log_form,
        verbose=verbose,
        ask=can_ask() and not yes,
        isolation=isolation,
        anyone_may_call=anyone_may_call,
        cors_origins=tuple(cors_origins or ["*"]),
        address_requests_per_s=address_requests_per_s,
        replicas=tuple(replicas or ()),
        processes=processes,
    )
    directories = dict.fromkeys(_located(path) for path in projects or [Path.cwd()])
    try:
        plan = preflight.check(settings, directories)
        missing = preflight.check_isolation(settings)
        configurations = dict.fromkeys(project.config_path for project in plan.projects)
        confirm_scripts("insula up", configurations, settings.cache, yes=yes)
    except (Refused, ProjectInvalid) as error:
        note(f"insula up: {error}")
        raise typer.Exit(_EXIT_REFUSED) from None
    if missing:
        note(f"insula up: handler isolation incomplete: {missing}")
    for project in plan.projects:
        if keys := ineffective_keys(project.spec):
            note(f"insula up: {warning(project.spec.name, keys)}")
    raise typer.Exit(run(plan))


def _located(path: Path) -> Path:
    """Return the absolute path. A link to a configuration is not resolved: the folder of the link is the project."""
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name
