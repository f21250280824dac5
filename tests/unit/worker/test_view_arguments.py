"""The words that make a view: which of them there are for which machine, and in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from insula.process.isolation import Sandbox
from insula_worker.view.arguments import Sight, arguments
from insula_worker.view.machine import Machine

SANDBOX = Sandbox(Path("/bwrap"), processes=True, layers=True)
MACHINE = Machine(
    root=True,
    system=(Path("/etc"), Path("/opt"), Path("/usr"), Path("/var")),
    mounts=(Path("/etc/resolv.conf"), Path("/srv"), Path("/var/lib/x"), Path("/var/lib/x/y")),
    sockets=(Path("/run/a.sock"), Path("/var/lib/b.sock")),
    mnt={"disk": None, "link": "disk", "project": None},
    home=Path("/srv/me"),
    interpreter=Path("/usr"),
    ours=(Path("/srv/insula"),),
)
SIGHT = Sight(
    project=Path("/data/run/a-0/r/project"),
    tmp=Path("/data/run/a-0/r/tmp.0"),
    hidden=(Path("/data"),),
    kept=(Path("/data/run/a-0/r/models"),),
    environment=Path("/cache/environments/key"),
    layer=Path("/cache/environments/key.layers/a"),
    hosts=Path("/data/run/hosts"),
)


def words(sandbox: Sandbox = SANDBOX, machine: Machine = MACHINE, sight: Sight = SIGHT) -> str:
    """As one text, for `in`."""
    return " ".join(["", *arguments(sandbox, machine, sight), ""])


def test_what_is_kept_of_a_hidden_folder_comes_after_it() -> None:
    text = words()
    hidden = text.index("--perms 0700 --tmpfs /data ")
    for kept in (
        "--bind /data/run/a-0/r/project /data/run/a-0/r/project ",
        "--bind /data/run/a-0/r/models /data/run/a-0/r/models ",
        "--bind /data/run/a-0/r/project /mnt/project ",
        "--remount-ro /data ",
    ):
        assert hidden < text.index(kept)


def test_the_environments_of_others_are_hidden_and_its_own_is_below_a_layer() -> None:
    text = words()
    layer = "/cache/environments/key.layers/a"
    overlay = f"--overlay {layer}/environment {layer}/environment.work /cache/environments/key "
    assert text.index("--tmpfs /cache/environments ") < text.index(f"--overlay-src /cache/environments/key {overlay}")


def test_while_it_is_built_the_environment_itself_is_written_to() -> None:
    assert "--bind /cache/environments/key /cache/environments/key " in words(sight=replace(SIGHT, building=True))


def test_what_is_mounted_or_served_below_a_layer_is_put_back_once() -> None:
    text = words()
    assert text.index("--overlay-src /var ") < text.index("--dev-bind-try /var/lib/x /var/lib/x ")
    for path in ("/etc/resolv.conf", "/var/lib/b.sock"):
        assert f"--dev-bind-try {path} {path} " in text
    for path in ("/var/lib/x/y", "/run/a.sock", "/srv"):
        assert f"bind-try {path} " not in text


def test_mnt_keeps_what_is_in_it_and_the_project_takes_its_place() -> None:
    text = words()
    assert "--dev-bind-try /mnt/disk /mnt/disk --symlink disk /mnt/link --bind" in text
    assert text.count("/mnt/project ") == 1


def test_without_a_mnt_there_is_no_place_for_the_project() -> None:
    assert "/mnt" not in words(machine=replace(MACHINE, mnt=None))


def test_without_root_only_the_environment_and_var_tmp_are_its_own() -> None:
    text = words(machine=replace(MACHINE, root=False))
    assert text.count("--overlay ") == 1
    assert "--bind /cache/environments/key.layers/a/var_tmp /var/tmp " in text


def test_without_layers_what_worked_before_works_as_before() -> None:
    text = words(replace(SANDBOX, layers=False))
    assert "--overlay" not in text
    assert "--bind /cache/environments/key /cache/environments/key " in text
    assert "/var/tmp" not in text


def test_without_a_process_namespace_the_rest_is_there() -> None:
    text = words(replace(SANDBOX, processes=False))
    assert "--unshare-pid" not in text
    assert "--proc" not in text
    assert "--tmpfs /data " in text


@pytest.mark.parametrize("home", ["/tmp/me", "/var/lib/me"])
def test_a_home_that_would_be_covered_is_put_back(home: str) -> None:
    text = words(machine=replace(MACHINE, home=Path(home)))
    assert f"--bind {home} {home} " in text
    assert f"--bind {home} " not in words()


def test_an_interpreter_below_tmp_is_put_back() -> None:
    text = words(machine=replace(MACHINE, interpreter=Path("/tmp/python")))
    assert text.index(" /tmp ") < text.index("--ro-bind /tmp/python /tmp/python ")


def test_the_hosts_file_comes_after_the_layer_of_etc() -> None:
    text = words()
    assert text.index("--overlay-src /etc ") < text.index("--ro-bind /data/run/hosts /etc/hosts ")
    assert "/etc/hosts" not in words(sight=replace(SIGHT, hosts=None))
