"""`insula up --watch`: deploys a project again whenever one of its files is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import watchfiles

from insula.errors import InsulaError
from insula_local.rollout.rollout import Rollout

SETTLE_MS: Final = 200
"""Writes within this time of each other are one change, because an editor or a checkout writes several files."""
TOGETHER_MS_MAX: Final = 1000
"""A change ends after this time even if writes continue: stores in a hidden folder of a project write all the time."""
_NAMES_THAT_COUNT: Final = {".env", ".cortexignore"}


def roots_of(path: Path, roots: Iterable[Path]) -> Iterator[Path]:
    """Yield the directories of `roots` whose project may contain the file. An ignored file counts too."""
    for root in roots:
        if path.is_relative_to(root) and _counts(path.relative_to(root)):
            yield root


def _counts(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts) and str(path) not in _NAMES_THAT_COUNT
    return not hidden and "__pycache__" not in path.parts


async def deploy_what_is_saved(rollout: Rollout, configurations: Iterable[Path], say: Callable[[str], None]) -> None:
    """Deploy each project of `configurations` again when one of its files is saved.

    First, each project is deployed once, because it may have been saved before watching began. An unchanged project
    keeps its version. Returns, with a message by `say`, if files cannot be watched.
    """
    by_root: dict[Path, list[Path]] = {}
    for path in configurations:
        by_root.setdefault(path.parent, []).append(path)
    saved = set(by_root)
    try:
        async for changed in watchfiles.awatch(
            *by_root,
            watch_filter=None,
            debounce=TOGETHER_MS_MAX,
            step=SETTLE_MS,
            rust_timeout=TOGETHER_MS_MAX,
            yield_on_timeout=True,
        ):
            saved |= {root for _, path in changed for root in roots_of(Path(path), by_root)}
            for root in sorted(saved):
                for configuration in by_root[root]:
                    await _deploy(rollout, configuration, say)
            saved.clear()
    except OSError as error:
        say(f"  --watch cannot watch the files; deploy your changes with `insula deploy`: {error}")


async def _deploy(rollout: Rollout, configuration: Path, say: Callable[[str], None]) -> None:
    try:
        await rollout.deploy(configuration)
    except InsulaError as error:
        say(f"  not deployed, the previous version still serves: {error}")
