"""`insula up --watch`: deploys a project again whenever one of its files is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import watchfiles

from insula.errors import InsulaError
from insula_local.rollout.rollout import Rollout

SETTLE_MS: Final = 200
"""An editor or a checkout writes several files. Writes closer together than this count as one change."""
TOGETHER_MS_MAX: Final = 1000
"""The longest change: stores in a hidden folder of the project write all the time."""
_NAMES_THAT_COUNT: Final = {".env", ".cortexignore"}


def roots_of(path: Path, roots: Iterable[Path]) -> Iterator[Path]:
    """Yield the projects that the file may belong to. Their bundles show whether it does."""
    for root in roots:
        if path.is_relative_to(root) and _counts(path.relative_to(root)):
            yield root


def _counts(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts) and str(path) not in _NAMES_THAT_COUNT
    return not hidden and "__pycache__" not in path.parts


async def deploy_what_is_saved(rollout: Rollout, configurations: Iterable[Path], say: Callable[[str], None]) -> None:
    """Deploy each project of these configuration files again when it is saved. Returns if files cannot be watched.

    At first each is deployed without a change, because it may have been saved before watching began. An unchanged
    project gives the same version.
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
        say(f"  --watch does not work here; deploy your changes with `insula deploy`: {error}")


async def _deploy(rollout: Rollout, configuration: Path, say: Callable[[str], None]) -> None:
    try:
        await rollout.deploy(configuration)
    except InsulaError as error:
        say(f"  not reloaded, the version before still serves: {error}")
