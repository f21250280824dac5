"""The files that a dependencies.sh writes at the build of an image are in the project at each start of a worker."""

from __future__ import annotations

from pathlib import Path

from insula_worker.environments.baked import keep_written, restore, snapshot


def test_new_and_changed_files_are_restored_and_no_others(tmp_path: Path) -> None:
    """A later version of the project keeps its own files, because it may be deployed with an older image."""
    built, environment = tmp_path / "built", tmp_path / "environments" / "key"
    (built / "models").mkdir(parents=True)
    (built / "handler.py").write_text("old")
    (built / "settings.json").write_text("{}")
    before = snapshot(built)
    (built / "settings.json").write_text('{"written": true}')
    (built / "models" / "weights").write_bytes(b"1")
    (built / "empty").mkdir()
    (built / "latest").symlink_to("models")
    keep_written(built, before, environment)

    project = tmp_path / "project"
    project.mkdir()
    (project / "handler.py").write_text("new")
    restore(environment, project)
    assert (project / "handler.py").read_text() == "new"
    assert (project / "settings.json").read_text() == '{"written": true}'
    assert (project / "models" / "weights").read_bytes() == b"1"
    assert (project / "empty").is_dir()
    assert (project / "latest").readlink() == Path("models")


def test_an_environment_without_a_script_restores_nothing(tmp_path: Path) -> None:
    restore(tmp_path / "key", tmp_path / "project")
    assert not (tmp_path / "project").exists()
