"""Text files from Windows are accepted: with CRLF, a byte order mark, or in UTF-16."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.errors import ProjectInvalid
from insula.project import read_project
from insula.project.env_file import read_env

HANDLER = "class Handler:\n    def handle_async(self):\n        return {}\n"
CONFIGURATION = """\
- name: windows
  kind: AsyncAPI
  handler:
    type: python
    path: handler.py
    config:
      text: |
        one
        two
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_all_text_files_of_a_project_may_be_from_windows(tmp_path: Path, encoding: str) -> None:
    for name, text in {
        "cortex.yaml": CONFIGURATION,
        ".env": "A=b\n\n# comment\nC='d'\nexport E=\"f\ng\"\n",
        ".cortexignore": "data/\n*.bin\n!kept.bin\n",
    }.items():
        (tmp_path / name).write_bytes(text.replace("\n", "\r\n").encode(encoding))
    (tmp_path / "handler.py").write_bytes(HANDLER.replace("\n", "\r\n").encode("utf-8-sig"))
    (tmp_path / "data").mkdir()
    for name in ("data/left-out", "left-out.bin", "kept.bin"):
        (tmp_path / name).touch()
    [project] = read_project(tmp_path)
    assert project.spec.handler.config == {"text": "one\ntwo\n"}
    assert read_env(tmp_path) == {"A": "b", "C": "d", "E": "f\ng"}
    assert [file.name for file in project.files()] == [".env", "handler.py", "kept.bin"]


@pytest.mark.parametrize(
    ("encoding", "problem"),
    [
        ("utf-16", "is UTF-16 text, which Python cannot read; save it as UTF-8"),
        ("utf-32", "is UTF-32 text, which Python cannot read; save it as UTF-8"),
        ("utf-16-le", "holds null bytes, so it is not Python source; save it as UTF-8 text"),
    ],
)
def test_a_handler_that_python_cannot_read_is_refused(tmp_path: Path, encoding: str, problem: str) -> None:
    (tmp_path / "cortex.yaml").write_text(CONFIGURATION)
    (tmp_path / "handler.py").write_bytes(HANDLER.encode(encoding))
    with pytest.raises(ProjectInvalid, match=f"^error in handler.py: {problem}$"):
        read_project(tmp_path)
