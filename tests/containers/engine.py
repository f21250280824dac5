"""podman for the tests: its own store, and a stand-in for the base image, since a test pulls nothing.

Each copy of the repository has one store, which stays, so that a second run finds its layers.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
CACHE: Final = Path.home() / ".cache" / "insula-tests" / "containers"
NAME: Final = f"insula-{hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:8]}"
"""Of the store and of the networks. podman's DNS keeps one file for each name of a network, whatever the store."""
DNS: Final = Path("/run/containers/networks/aardvark-dns")
"""podman's files of names and addresses, one for each network of the machine."""
BASE: Final = "docker.io/library/python:3.11-slim"
DEBIAN: Final = "bookworm"
PACKAGES: Final = "python3,python3-venv,python3-pip,ca-certificates"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SHARED: Final = ("/etc/ssl/certs", "/etc/pip.conf")
"""Files of the machine that pip in a container may need: the CAs of a proxy, and the address of an index."""
CONTAINERS_CONF: Final = """\
[containers]
volumes = [{volumes}]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""
STORAGE_CONF: Final = """\
[storage]
driver = "overlay"
graphroot = "{folder}/images"
runroot = "{folder}/run"
"""
REGISTRIES_CONF: Final = """\
unqualified-search-registries = ["docker.io"]
short-name-mode = "permissive"
[[registry]]
location = "127.0.0.1"
insecure = true
"""


class PodmanFailed(Exception):
    """The text has the command and its whole output."""


class Podman:
    """Runs podman with the store in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder: Final = folder
        volumes = ", ".join(f'"{path}:{path}:ro"' for path in SHARED if Path(path).exists())
        (folder / "containers.conf").write_text(CONTAINERS_CONF.format(volumes=volumes))
        (folder / "registries.conf").write_text(REGISTRIES_CONF)
        (folder / "storage.conf").write_text(STORAGE_CONF.format(folder=folder))
        self.environment: Final[Mapping[str, str]] = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            "BUILDAH_ISOLATION": "chroot",
        }

    def __call__(self, *arguments: str, timeout_s: float = 120, check: bool = True) -> str:
        """Return what the command wrote. Raises PodmanFailed if it failed and `check` is true."""
        done = subprocess.run(
            ["podman", *arguments],
            env=self.environment,
            cwd=self._folder,  # conmon makes a file `oom` there if a container runs out of memory
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise PodmanFailed(f"podman {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout.strip()

    def run(self, command: Sequence[str | Path], **variables: str) -> str:
        """Run another program that uses podman, and return what it wrote. Raises PodmanFailed."""
        done = subprocess.run(
            list(map(str, command)),
            env={**self.environment, **variables},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=600,
            check=False,
        )
        if done.returncode != 0:
            raise PodmanFailed(f"{command}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout

    def forget_dead_networks(self) -> None:
        """Remove the files with names of networks that do not exist.

        A run that was killed leaves them. podman's DNS answers from them on each later network with the same gateway.
        """
        files = [file for file in DNS.glob("*") if file.suffix != ".pid"]
        networks = self("network", "ls", "--format", "{{.Name}}").split()
        for file in files:
            if file.name not in networks:
                file.unlink(missing_ok=True)

    def has_image(self, name: str) -> bool:
        """Whether the store has the image."""
        found = subprocess.run(["podman", "image", "exists", name], env=self.environment, check=False)
        return found.returncode == 0


def own_podman() -> Podman:
    """Return podman with the store of this copy of the repository.

    Its path is short: conmon's sockets are below it, and with a long path each `podman run` waits 20 s at its end.
    """
    return Podman(Path("/var/tmp", NAME))


def import_base(podman: Podman) -> str:
    """Import the stand-in for python:3.11-slim unless the store has it, and return its name."""
    if not podman.has_image(BASE):
        podman("import", "--change", f"ENV PATH={PATH}", str(_root_file_system()), BASE, timeout_s=300)
    return BASE


def _root_file_system() -> Path:
    """Return the archive of a small Debian with Python. Making it takes a minute, once for a machine."""
    archive = CACHE / f"{DEBIAN}-python.tar.gz"
    if archive.exists():
        return archive
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root = Path(folder, "root")
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", DEBIAN, str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for mark in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):  # the published image has no such file
            mark.unlink()
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        subprocess.run(["chroot", str(root), "apt-get", "clean"], check=True)
        part = Path(folder, "part.tar.gz")
        with tarfile.open(part, "w:gz", compresslevel=1) as tar:
            tar.add(root, arcname=".")
        part.replace(archive)
    return archive
