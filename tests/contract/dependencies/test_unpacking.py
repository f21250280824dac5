"""A project's scripts are converted to Unix text, and may call a script of Cortex' image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from insula.project.bundle import collect
from insula.project.configuration.spec import Dependencies
from insula_worker.environments.environment import ensure_environment
from insula_worker.environments.key import EnvironmentInputs, environment_key
from insula_worker.environments.unpacking import unpack
from tests.views import isolated_view, open_view

SCRIPT = """\
# As Cortex' document calls it, and in other ways.
/usr/local/cortex/install-core-dependencies.sh
bash "/usr/local/cortex/install-core-dependencies.sh"
source /usr/local/cortex/install-core-dependencies.sh
if true; then
  echo done > done.txt
fi
"""
FILES = Dependencies("requirements.txt", "conda-packages.txt", "dependencies.sh")


def unpacked(folder: Path, files: dict[str, bytes]) -> Path:
    """Bundle the files and unpack them as the worker does. Return the project's folder."""
    written = folder / "written"
    written.mkdir(parents=True)
    for name, data in files.items():
        (written / name).write_bytes(data)
    project = folder / "release" / "project"
    unpack(collect(written, "cortex.yaml"), project, FILES)
    return project


async def test_a_script_written_on_windows_runs_and_may_call_cortexs_script(tmp_path: Path, cache: Path) -> None:
    """The script runs with isolation and without. The files in the user's own folder are not changed."""
    for encoding, view_of in (("utf-8-sig", open_view), ("utf-16", isolated_view)):
        written = SCRIPT.replace("\n", "\r\n").encode(encoding)
        project = unpacked(tmp_path / encoding, {"dependencies.sh": written})
        inputs = EnvironmentInputs(project=project, variables=dict(os.environ), base_set=())
        await ensure_environment(inputs, cache, view_of(project))
        assert (project / "done.txt").read_text() == "done\n"
        assert (project.parents[1] / "written" / "dependencies.sh").read_bytes() == written


def test_only_the_files_for_conda_and_bash_are_converted(tmp_path: Path) -> None:
    """conda-packages.txt and dependencies.sh are converted, except bytes that are not UTF-8. Others stay unchanged.

    pip decodes requirements.txt itself.
    """
    files = {
        "conda-packages.txt": b"\xef\xbb\xbfnumpy\r\n",
        "requirements.txt": "six\r\n".encode("utf-16"),
        "dependencies.sh": b"echo \xff\r\n",
        "notes.txt": b"\xef\xbb\xbfa\r\n",
    }
    project = unpacked(tmp_path, files)
    assert (project / "conda-packages.txt").read_bytes() == b"numpy\n"
    assert (project / "dependencies.sh").read_bytes() == b"echo \xff\n"
    for name in ("requirements.txt", "notes.txt"):
        assert (project / name).read_bytes() == files[name]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
def test_an_included_file_changes_the_key_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    """requirements.txt includes two files. A change of one changes the environment's key, so it is built again."""
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    named = mark + "-r base.txt\r\n-c \\\r\n  pins.txt\r\n".encode(encoding)
    keys: set[str] = set()
    for number, (base, pins) in enumerate([("six", ""), ("toml", ""), ("six", "six<2")]):
        files = {"base.txt": base.encode(), "pins.txt": pins.encode(), "requirements.txt": named}
        project = unpacked(tmp_path / str(number), files)
        keys.add(environment_key(EnvironmentInputs(project=project, variables={})))
    assert len(keys) == 3
