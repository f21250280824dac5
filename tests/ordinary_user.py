"""An unprivileged user with a world-readable copy of this repository and of its Python environment.

If root runs the tests, this is another user; otherwise it is the current one. A missing file or tool is an error: it
never skips a test.
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
"""A user id that no user has; passwd has no entry for it."""
COPIED: Final = ("src", "services", "envoy", "local", "examples", "tests", "pyproject.toml")
INHERITED: Final = ("PIP_", "SSL_CERT_", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY")


@dataclass(frozen=True)
class OrdinaryUser:
    """A user. Only this user writes in `home`. `root` is the copy of the repository, `python` its interpreter."""

    uid: int
    home: Path
    root: Path
    python: Path
    libraries: Path | None = None  # the interpreter's lib folder, if the interpreter is a copy

    @property
    def process(self) -> dict[str, Any]:
        """Return the keyword arguments with which subprocess or asyncio starts a process as this user."""
        environment = {name: value for name, value in os.environ.items() if name.startswith(INHERITED)}
        environment |= {"HOME": str(self.home), "PATH": os.defpath, "LANG": "C.UTF-8"}
        if self.libraries is not None:
            environment["LD_LIBRARY_PATH"] = str(self.libraries)
        found: dict[str, Any] = {"env": environment, "cwd": self.home}
        if self.uid != os.geteuid():
            found |= {"user": self.uid, "group": self.uid, "extra_groups": []}
        return found

    def folder(self, name: str) -> Path:
        """Make a folder in `home` that the user owns."""
        folder = self.home / name
        folder.mkdir(mode=0o700)
        os.chown(folder, self.uid, self.uid)
        return folder


@contextmanager
def ordinary_user() -> Generator[OrdinaryUser]:
    """Make the copies, and remove them at the end. Takes seconds, because files are hard links if possible."""
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
        subprocess.run(["rm", "-rf", folder], check=False)  # shutil takes a minute of CPU


def _interpreter(folder: Path) -> Path:
    """Return the prefix of this interpreter, or of a copy if other users cannot read it."""
    base = Path(sys.base_prefix).resolve()
    if _is_open(base):
        return base
    (folder / "python").mkdir(mode=0o755)
    for name in ("bin", "include", "lib"):
        _copy(base / name, folder / "python" / name)
    return folder / "python"


def _environment(base: Path, root: Path) -> Path:
    """Copy the current virtual environment for the interpreter at `base`. Return the copy's Python."""
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
        path.unlink()  # it may be a hard link to our own file
        path.write_text(text.replace(str(ROOT), str(root)))
        path.chmod(0o644)
    return environment / "bin" / "python"


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder, as hard links if possible, and make its folders readable for all users.

    Symbolic links stay symbolic links.
    """
    linked = subprocess.run(["cp", "-al", source, target], capture_output=True, check=False)
    if linked.returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", source, target], check=True)
    unreadable = subprocess.run(["find", target, "-type", "d", "!", "-perm", "-o+rx"], capture_output=True, check=True)
    for path in unreadable.stdout.decode().splitlines():
        Path(path).chmod(0o755)


def _is_open(folder: Path) -> bool:
    """Whether all users can read the folder and its parents."""
    return all(path.stat().st_mode & 0o005 == 0o005 for path in (folder, *folder.parents))
