"""`insula up --watch`: deploys a project again whenever one of its files is saved."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from watchfiles import Change, watch

from insula.errors import InsulaError, ProjectInvalid
from insula.local.rollout.apis import LOOK_AGAIN_EVERY_S, LOOK_EVERY_S, Rollout
from insula.project import read_project
from insula.project.consent import Confirmations, scripts

SETTLE_MS: Final = 200
"""An editor, or a checkout, writes several files; they are one change if no more follow for so long."""
_NAMES_THAT_COUNT: Final = {".env", ".cortexignore"}


class Saves:
    """Whether a changed file may belong to one of the projects; which really do, the bundle decides."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots: Final = tuple(roots)

    def __call__(self, change: Change, path: str) -> bool:  # noqa: ARG002 - the signature of a filter of watchfiles
        return self.root_of(path) is not None

    def root_of(self, path: str) -> Path | None:
        """The project the file may belong to."""
        for root in self._roots:
            if Path(path).is_relative_to(root) and _counts(Path(path).relative_to(root)):
                return root
        return None


def _counts(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts) and str(path) not in _NAMES_THAT_COUNT
    return not hidden and "__pycache__" not in path.parts


class Reloading:
    """Deploys the projects of these configuration files again and again; never ends."""

    def __init__(self, rollout: Rollout, configurations: Iterable[Path], confirmations: Confirmations | None) -> None:
        """`confirmations`, where they are asked for: a dependencies.sh that nobody confirmed keeps a project back."""
        self._rollout = rollout
        self._by_root: Final = {path.parent: path for path in configurations}
        self._confirmations = confirmations

    def run(self) -> None:
        """Tell each change of state, and deploy each project that was saved."""
        saves, look_at = Saves(self._by_root), 0.0
        changes = watch(
            *self._by_root,
            watch_filter=saves,
            debounce=SETTLE_MS,
            step=SETTLE_MS,
            rust_timeout=int(LOOK_EVERY_S * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        for changed in changes:
            for root in sorted({root for _, path in changed if (root := saves.root_of(path))}):
                self._deploy(self._by_root[root])
            if changed or time.monotonic() >= look_at:
                look_at = time.monotonic() + (self._rollout.look() or LOOK_AGAIN_EVERY_S)

    def _deploy(self, configuration: Path) -> None:
        try:
            projects = read_project(configuration)
            self._check_scripts(configuration)
            for project in projects:
                self._rollout.deploy(project)
        except InsulaError as error:
            sys.stdout.write(f"  not reloaded, what was there goes on: {error}\n")
            sys.stdout.flush()

    def _check_scripts(self, configuration: Path) -> None:
        for script in scripts([configuration]):
            if self._confirmations is not None and not self._confirmations.hold(script):
                raise ProjectInvalid(f"{script.path} has changed; start `insula up` again to read and confirm it")
