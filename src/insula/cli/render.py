"""`insula render`: the Kubernetes objects of a project as YAML. `insula deploy --kubernetes` applies the same bytes.

Exit codes: 0 done, 2 wrong usage or a refused project. `apply` passes on the exit code of kubectl.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from insula.cli.connection import spoken_errors
from insula.errors import InvalidArgument, NotFound
from insula.printing import put

if TYPE_CHECKING:
    from insula.kubernetes.options import Options
    from insula.project import Project

Config = Annotated[
    Path,
    typer.Argument(metavar="[CONFIG]", help="Project directory, or its cortex.yaml. Default: the current directory."),
]
Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="IMAGE",
        help="Image of the workers, for APIs without handler.image. Default: the one that `insula build` makes.",
        show_default=False,
    ),
]
Namespace = Annotated[str, typer.Option("--namespace", metavar="NAME", help="Namespace of Insula's services.")]
Grace = Annotated[
    int, typer.Option("--grace", metavar="S", min=60, help="Seconds that running workloads have when a pod is stopped.")
]
Keda = Annotated[
    bool,
    typer.Option(
        "--keda/--no-keda",
        help="--keda: KEDA sets the number of replicas. --no-keda: the number is fixed. Default: --keda.",
        show_default=False,
    ),
]
Replicas = Annotated[
    int | None,
    typer.Option(
        "--replicas",
        metavar="N",
        min=0,
        help="Replicas of each API with --no-keda. Default: its init_replicas.",
        show_default=False,
    ),
]
Initial = Annotated[
    bool,
    typer.Option("--initial", help="Start with init_replicas. For the first apply only: later KEDA sets the number."),
]
Tolerance = Annotated[
    bool,
    typer.Option(
        "--tolerance",
        help="Set the autoscaler's `tolerance`. Needs Kubernetes 1.35, and a version of KEDA that knows this field.",
    ),
]
Plain = Annotated[
    bool,
    typer.Option(
        "--no-build-image",
        help="Use an image without the project: pods install packages, and no Job registers the APIs.",
    ),
]


class KubectlMissing(NotFound):
    """The program kubectl, which applies the objects, is not on the PATH."""


def render(
    config: Config = Path(),
    image: Image = None,
    namespace: Namespace = "insula",
    grace: Grace = 3600,
    keda: Keda = True,
    replicas: Replicas = None,
    initial: Initial = False,
    tolerance: Tolerance = False,
    plain: Plain = False,
    acl: Annotated[
        bool, typer.Option("--acl", help="Print the Redis users of the services and of the workers, and no objects.")
    ] = False,
) -> None:
    """Print a project's Kubernetes objects as YAML. The same project and options give the same bytes."""
    from insula.project import read_project

    with spoken_errors():
        project = read_project(config)
        if acl:
            put(redis_users(project))
            return
        put(manifest(project, options(image, namespace, grace, keda, replicas, initial, tolerance, plain)))


def options(
    image: str | None,
    namespace: str,
    grace: int,
    keda: bool,
    replicas: int | None,
    initial: bool,
    tolerance: bool,
    plain: bool,
) -> Options:
    """Return the options of a command line. Raises InvalidArgument if two of them contradict each other."""
    from insula.kubernetes.options import Options

    if keda and replicas is not None:
        raise InvalidArgument("--replicas needs --no-keda: KEDA sets the number of replicas otherwise")
    return Options(
        image=image,
        namespace=namespace,
        grace_s=grace,
        keda=keda,
        replicas=replicas,
        initial=initial,
        tolerance=tolerance,
        plain=plain,
    )


def manifest(project: Sequence[Project], chosen: Options, names: Sequence[str] = ()) -> str:
    """Return the YAML of the APIs `names`, or of all APIs without names. It does not end with a newline.

    Raises ProjectInvalid if Kubernetes would refuse a value.
    """
    from insula.kubernetes.render import objects, to_yaml

    return to_yaml(objects(project, chosen, names)).removesuffix("\n")


def redis_users(project: Sequence[Project]) -> str:
    """Return one `ACL SETUSER` line for each Redis user, without a password: results, submit, one user for each API."""
    from insula.access import service_acl, worker_acl

    services = {f"insula-{name}": service_acl(name) for name in ("results", "submit")}
    workers = {f"insula-worker-{name}": worker_acl(name) for name in sorted(each.spec.name for each in project)}
    return "\n".join(f"ACL SETUSER {user} {rules}" for user, rules in (services | workers).items())


def apply(project: Sequence[Project], chosen: Options, names: Sequence[str]) -> None:
    """Apply the objects of the APIs `names`, or of all APIs without names, with kubectl.

    Raises KubectlMissing. If kubectl fails, raises Exit with its exit code, or 128 + the signal's number.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise KubectlMissing("kubectl is not on PATH: install it, or apply the output of `insula render` yourself")
    text = f"{manifest(project, chosen, names)}\n"
    done = subprocess.run([kubectl, "apply", "--server-side", "-f", "-"], input=text.encode(), check=False)
    if done.returncode:
        raise typer.Exit(done.returncode if done.returncode > 0 else 128 - done.returncode)
