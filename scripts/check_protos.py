"""Checks the contracts: buf's format, lint and breaking rules, and that the generated files match protos/.

buf reads descriptor sets that are built here. So it needs no registry; Google's protos come from the installed package.
The breaking rules compare with the commit at which this branch left main. On main they compare with HEAD if protos/ has
uncommitted changes, else with the commit before HEAD. Without git history this check is skipped with a message.
"""

from __future__ import annotations

import filecmp
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.generate_stubs import PROTOS, ROOT, main, write_descriptor

BUF = str(Path(sys.executable).parent / "buf")
DESCRIPTOR = Path("envoy/insula_envoy/insula.binpb")
STUBS = (Path("src/insula/v1"), Path("src/insula/externalscaler"))


def git(*arguments: str) -> bytes | None:
    """Return git's output; None if git fails, for example without a repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def commit(name: str) -> str | None:
    """Return the id of the commit `name`; None if this clone does not have it."""
    found = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return found.decode().strip() if found else None


def base_commit() -> str | None:
    """Return the commit whose contracts the working tree must not break; None without git history."""
    head = commit("HEAD")
    main_branch = commit("origin/main") or commit("main")
    if head is None or main_branch is None:
        return commit("HEAD~1") or head
    fork = git("merge-base", "HEAD", main_branch)
    if fork and fork.decode().strip() != head:
        return fork.decode().strip()
    uncommitted = git("status", "--porcelain", "--", "protos")
    return head if uncommitted else commit("HEAD~1") or head


def buf(*arguments: str) -> bool:
    """Run buf with the repository's configuration. Return whether it passed. It prints its own findings."""
    return subprocess.run([BUF, *arguments], cwd=ROOT, check=False).returncode == 0


def breaks_nothing(descriptor: Path, scratch: Path) -> bool:
    """Whether the working tree's contracts suit clients of the base commit's contracts, on the wire and in JSON.

    `descriptor` has the contracts of the working tree. `scratch` is a folder for those of the base commit.
    """
    base = base_commit()
    archive = git("archive", "--format=tar", base, "protos") if base else None
    if archive is None:
        print("breaking: no earlier commit with protos/ to compare with")
        return True
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(scratch, filter="data")
    against = scratch / "base.binpb"
    write_descriptor(scratch / "protos", against)
    print(f"breaking: compared with {base}")
    return buf("breaking", str(descriptor), "--against", str(against), "--exclude-imports")


def generated_files_differ(fresh: Path) -> list[str]:
    """Return the paths, relative to the root, of generated files that are missing, outdated or no longer generated."""
    made = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    kept = {path.relative_to(ROOT) for folder in STUBS for path in (ROOT / folder).glob("*_pb2*.py*")} | {DESCRIPTOR}
    same, _, _ = filecmp.cmpfiles(fresh, ROOT, [str(path) for path in made & kept], shallow=False)
    return sorted({str(path) for path in made | kept} - set(same))


def check() -> bool:
    """Run every check of the contracts. Return True if all passed."""
    with TemporaryDirectory(prefix="insula-protos-") as folder:
        fresh, scratch = Path(folder, "fresh"), Path(folder, "base")
        scratch.mkdir()
        main(fresh)
        stale = generated_files_differ(fresh)
        if stale:
            print(f"generated files are not those of {PROTOS.name}/; run `make protos`: {', '.join(stale)}")
        descriptor = fresh / DESCRIPTOR
        return all(
            [
                not stale,
                buf("format", "--diff", "--exit-code", ".", "--path", "protos"),
                buf("lint", str(descriptor), "--path", "insula"),
                breaks_nothing(descriptor, scratch),
            ]
        )


if __name__ == "__main__":
    sys.exit(0 if check() else 1)
