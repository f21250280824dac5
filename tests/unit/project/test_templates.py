"""The projects that `insula init` writes are valid. Their READMEs have the commands that it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.cli.init import Template, commands
from insula.project import read_project


@pytest.mark.parametrize("template", Template)
def test_a_template_is_a_project(template: Template, tmp_path: Path) -> None:
    for name, content in template.files().items():
        (tmp_path / name).write_bytes(content)
    assert len(read_project(tmp_path)) == 1


@pytest.mark.parametrize("template", Template)
def test_the_readme_of_a_template_has_the_printed_commands(template: Template) -> None:
    files = template.files()
    for command in commands(Path(), files):
        assert command in files["README.md"].decode()


def test_the_directory_in_the_commands_is_quoted_for_a_shell() -> None:
    assert commands(Path("my project"), Template.IMAGE.files()) == (
        "insula up 'my project'",
        "curl http://127.0.0.1:8080/thumbnailer -H 'Content-Type: image/jpeg' --data-binary '@my project/sample.jpg'",
    )
