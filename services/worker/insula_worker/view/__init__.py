"""The view of one release: the files of the machine that its programs can see, as bubblewrap mounts them.

machine     the mounts, sockets and folders of this machine
arguments   the arguments for bubblewrap: a pure function
layers      the writable layers of an API
init        the first process in the handler's process namespace
program     the programs that are started in a view
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from insula.process.isolation import LOST_CAPABILITIES, Sandbox
from insula.process.tether import tethered
from insula_worker.view import init
from insula_worker.view.arguments import HOSTS, PROJECT, Sight, arguments
from insula_worker.view.layers import Layer, empty_layers, remove, take_layer
from insula_worker.view.machine import Machine

__all__ = ["Start", "View", "ViewSettings", "remove"]

INIT: Final = Path(init.__file__)


@dataclass(frozen=True)
class Start:
    """How to start a program in a view. `words` are bubblewrap and its arguments, empty without bubblewrap.

    If `own_init` is true, the program runs as a child of `init`, which reports its end to a descriptor. Without
    bubblewrap, `hosts` replaces /etc/hosts, and `confined` removes capabilities.
    """

    words: tuple[str, ...] = ()
    own_init: bool = False
    hosts: Path | None = None
    confined: bool = False

    def command(self, command: Sequence[str], status: int, words: int) -> list[str]:
        """Return the whole command. `init` reads `command` from the descriptor `words`, and reports to `status`."""
        if not self.words:
            return tethered(command, self.hosts, lost=LOST_CAPABILITIES.values() if self.confined else ())
        if self.own_init:
            return [*self.words, sys.executable, "-I", "-S", str(INIT), str(status), str(words)]
        return [*self.words, *command]


@dataclass(frozen=True)
class ViewSettings:
    """The common settings of the views of all releases.

    `hidden` are folders that no handler sees. `scratch` is the worker's own folder. `hosts` replaces /etc/hosts.
    `confined` removes capabilities from a handler that runs as root, even without a sandbox.
    """

    sandbox: Sandbox = field(default_factory=Sandbox)
    api: str = ""
    scratch: Path = Path()
    hidden: tuple[Path, ...] = ()
    hosts: Path | None = None
    confined: bool = False


class View:
    """The view of one release. Close it when no program of the release runs any more."""

    def __init__(self, settings: ViewSettings, folder: Path, project: Path) -> None:
        """`folder` is the release's folder, which holds each program's /tmp. `project` is the unpacked bundle in it."""
        self._settings: Final = settings
        self._folder: Final = folder
        self._project: Final = project
        self._machine: Final = Machine.look()
        self._layer: Layer | None = None
        self._environment: Path | None = None
        self._starts: Final = itertools.count()
        self._kept: Final[list[Path]] = []

    @property
    def project(self) -> Path:
        """The path of the project inside the view: Cortex' /mnt/project, or the real path if that cannot be mounted."""
        moved = self._settings.sandbox.bwrap is not None and self._machine.mnt is not None
        return PROJECT if moved else self._project

    def keep(self, folder: Path) -> None:
        """Make a folder visible, even if it is in a hidden folder."""
        self._kept.append(folder)

    def take(self, environment: Path, beside: Path | None = None) -> None:
        """Use this environment, with the API's writable layer over it, for programs started from now on. Blocks.

        The layers are next to the path `beside`, which need not exist; by default next to the environment.
        """
        self._environment = environment
        if self._settings.sandbox.layers:
            self._layer = take_layer(beside or environment, self._settings.api, self._settings.scratch)

    def forget(self) -> None:
        """Empty the environment's layers that nobody else uses. Call it before the environment is rebuilt. Blocks."""
        if self._environment is not None and self._layer is not None:
            empty_layers(self._environment, self._layer.folder)

    def step(self, *, building: bool = False) -> Start:
        """Return how to start an installation step. With `building`, it writes to the environment, not to a layer."""
        return self._start(self._tmp, building=building, hosts=None)

    def start(self) -> tuple[Start, Path]:
        """Return how to start a handler, and the folder of its /tmp. Pass this folder to `end` afterwards. Blocks.

        Its /tmp is a copy of the installation's /tmp, because a dependencies.sh may have put a model there.
        """
        tmp = self._folder / f"tmp.{next(self._starts)}"
        if any(self._tmp.iterdir()):
            # Errors are not fatal: `cp` prints the files that it cannot copy.
            subprocess.run(["cp", "-a", str(self._tmp), str(tmp)], check=False)
        else:
            _make_tmp(tmp)
        return self._start(tmp, building=False, hosts=self._settings.hosts), tmp

    def end(self, tmp: Path) -> None:
        """Remove the /tmp of a handler that has ended. Blocks."""
        remove(tmp)

    def close(self) -> None:
        """Release the layer, so that the next version of the API can use it."""
        if self._layer is not None:
            self._layer.release()
            self._layer = None

    @property
    def _tmp(self) -> Path:
        tmp = self._folder / "tmp"
        if not tmp.exists():
            _make_tmp(tmp)
        return tmp

    def _start(self, tmp: Path, *, building: bool, hosts: Path | None) -> Start:
        settings = self._settings
        sandbox = settings.sandbox
        if sandbox.bwrap is None:
            return Start(hosts=hosts, confined=settings.confined)
        sight = Sight(
            project=self._project.resolve(),
            tmp=tmp.resolve(),
            hidden=tuple(folder.resolve() for folder in settings.hidden if folder.is_dir()),
            kept=tuple(folder.resolve() for folder in self._kept),
            environment=self._environment.resolve() if self._environment is not None else None,
            layer=self._layer.folder.resolve() if self._layer is not None else None,
            building=building,
            hosts=hosts.resolve() if hosts is not None and HOSTS.exists() else None,
        )
        words = (str(sandbox.bwrap), *arguments(sandbox, self._machine, sight))
        return Start(words, own_init=sandbox.processes)


def _make_tmp(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o1777)  # not in mkdir, where the umask applies
