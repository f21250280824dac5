"""`insula up --watch`: deploys a project again whenever one of its files is saved."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from watchfiles import watch

from insula.errors import InsulaError
from insula_local.rollout.apis import LOOK_AGAIN_EVERY_S, Rollout

SETTLE_MS: Final = 200
"""An editor, or a checkout, writes several files: they are one change while less than this lies between two of them."""
TOGETHER_MS_MAX: Final = 1000
"""But for no longer: stores that lie in the project, in a hidden folder, write all the time."""
_NAMES_THAT_COUNT: Final = {".env", ".cortexignore"}


def roots_of(path: Path, roots: Iterable[Path]) -> Iterator[Path]:
    """Yield the projects the file may belong to; to which it really does, their bundles decide."""
    for root in roots:
        if path.is_relative_to(root) and _counts(path.relative_to(root)):
            yield root


def _counts(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts) and str(path) not in _NAMES_THAT_COUNT
    return not hidden and "__pycache__" not in path.parts


class Reloading:
    """Deploys the projects of these configuration files again and again."""

    def __init__(self, rollout: Rollout, configurations: Iterable[Path]) -> None:
        self._rollout = rollout
        self._by_root: Final[dict[Path, list[Path]]] = {}
        for path in configurations:
            self._by_root.setdefault(path.parent, []).append(path)

    def run(self) -> None:
        """Tell each change of state, and deploy each project that was saved. Raises OSError if files cannot be watched.

        The first time each is deployed unseen: it may have been saved before we looked. The same again changes nothing.
        """
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it counts what the stores write, again and again
        saved, look_at = set(self._by_root), 0.0
        for changed in watch(
            *self._by_root,
            watch_filter=None,
            debounce=TOGETHER_MS_MAX,
            step=SETTLE_MS,
            rust_timeout=SETTLE_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            saved |= {root for _, path in changed for root in roots_of(Path(path), self._by_root)}
            for root in sorted(saved):
                for configuration in self._by_root[root]:
                    self._deploy(configuration)
            if saved or time.monotonic() >= look_at:
                pause_s = self._rollout.look()
                look_at = time.monotonic() + (LOOK_AGAIN_EVERY_S if pause_s is None else pause_s)
            saved.clear()

    def _deploy(self, configuration: Path) -> None:
        try:
            self._rollout.deploy(configuration)
        except InsulaError as error:
            sys.stdout.write(f"  not reloaded, what was there goes on: {error}\n")
            sys.stdout.flush()
