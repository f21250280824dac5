"""An unprivileged user with a world-readable copy of this project and of the environment it runs in.

`ordinary_user` gives a user without any privilege: another user under root, the current one otherwise. It never skips;
a missing file or tool is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
UID: Final = 42_424
"""Without an entry in passwd, and nobody else's."""
COPIED: Final = ("src", "services", "envoy", "local", "examples", "tests", "pyproject.toml")
INHERITED: Final = ("PIP_", "SSL_CERT_", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY")


@dataclass(frozen=True)
class OrdinaryUser:
    """`home` is its own, and nobody else writes there; `root` is the copy of the project, `python` runs it."""

    uid: int
    home: Path
    root: Path
    python: Path
    libraries: Path | None = None  # of the interpreter, if that is a copy

    @property
    def process(self) -> dict[str, Any]:
        """What makes a process of `subprocess` or asyncio one of this user's."""
        environment = {name: value for name, value in os.environ.items() if name.startswith(INHERITED)}
        environment |= {"HOME": str(self.home), "PATH": os.defpath, "LANG": "C.UTF-8"}
        if self.libraries is not None:
            environment["LD_LIBRARY_PATH"] = str(self.libraries)
        found: dict[str, Any] = {"env": environment, "cwd": self.home}
        if self.uid != os.geteuid():
            found |= {"user": self.uid, "group": self.uid, "extra_groups": []}
        return found

    def folder(self, name: str) -> Path:
        """A new folder of this user's."""
        folder = self.home / name
        folder.mkdir(mode=0o700)
        os.chown(folder, self.uid, self.uid)
        return folder


@contextmanager
def ordinary_user() -> Generator[OrdinaryUser]:
    """Make the copies, and remove them at the end. Takes seconds: files are linked where the file system allows it."""
    if os.geteuid() != 0:
        with TemporaryDirectory(prefix="insula-user-", ignore_cleanup_errors=True) as place:
            yield OrdinaryUser(os.geteuid(), Path(place), ROOT, Path(sys.executable))
        return
    folder = Path(tempfile.mkdtemp(prefix="insula-user-"))
    try:
        folder.chmod(0o755)
        root = folder / "project"
        root.mkdir(mode=0o755)
        for name in COPIED:
            _copy(ROOT / name, root / name)
        base = _interpreter(folder)
        python = _environment(base, root)
        home = folder / "home"
        home.mkdir(mode=0o700)
        os.chown(home, UID, UID)
        user = OrdinaryUser(UID, home, root, python, base / "lib" if base.is_relative_to(folder) else None)
        subprocess.run([python, "-c", "import insula_worker"], check=True, **user.process)
        yield user
    finally:
        subprocess.run(["rm", "-rf", folder], check=False)  # shutil takes a minute of CPU for so many files


def _interpreter(folder: Path) -> Path:
    """Return where this interpreter is installed, or a copy of it if others cannot reach that."""
    base = Path(sys.base_prefix).resolve()
    if _is_open(base):
        return base
    (folder / "python").mkdir(mode=0o755)
    for name in ("bin", "include", "lib"):
        _copy(base / name, folder / "python" / name)
    return folder / "python"


def _environment(base: Path, root: Path) -> Path:
    """Copy the environment we run in, for the interpreter at `base`; return its Python."""
    prefix = Path(sys.prefix).resolve()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    environment = root / ".venv"
    environment.mkdir(mode=0o755)
    (environment / "pyvenv.cfg").write_text(f"home = {base / 'bin'}\ninclude-system-site-packages = false\n")
    (environment / "pyvenv.cfg").chmod(0o644)
    for name in ("bin", "lib"):
        _copy(prefix / name, environment / name)
    for path in (environment / "bin").glob("python*"):
        path.unlink()
    (environment / "bin" / "python").symlink_to(base / "bin" / version)
    for path in (environment / "lib" / version / "site-packages").glob("*.pth"):
        text = path.read_text()
        path.unlink()  # it may be the very file of ours
        path.write_text(text.replace(str(ROOT), str(root)))
        path.chmod(0o644)
    return environment / "bin" / "python"


def _copy(source: Path, target: Path) -> None:
    """Copy with every file readable to all, as links if that can be. Programs that are links stay links."""
    linked = subprocess.run(["cp", "-al", source, target], capture_output=True, check=False)
    if linked.returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", source, target], check=True)
    unreadable = subprocess.run(["find", target, "-type", "d", "!", "-perm", "-o+rx"], capture_output=True, check=True)
    for path in unreadable.stdout.decode().splitlines():
        Path(path).chmod(0o755)


def _is_open(folder: Path) -> bool:
    """Whether everybody may go there."""
    return all(path.stat().st_mode & 0o005 == 0o005 for path in (folder, *folder.parents))
