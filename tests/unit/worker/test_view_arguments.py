"""bubblewrap's arguments for a view, and their order, for different machines."""

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
    """Return the arguments as one text, with a space at both ends."""
    return " ".join(["", *arguments(sandbox, machine, sight), ""])


def test_a_kept_folder_is_mounted_after_the_hidden_folder_around_it() -> None:
    text = words()
    hidden = text.index("--perms 0700 --tmpfs /data ")
    for kept in (
        "--bind /data/run/a-0/r/project /data/run/a-0/r/project ",
        "--bind /data/run/a-0/r/models /data/run/a-0/r/models ",
        "--bind /data/run/a-0/r/project /mnt/project ",
        "--remount-ro /data ",
    ):
        assert hidden < text.index(kept)


def test_other_environments_are_hidden_and_its_own_has_a_layer_over_it() -> None:
    text = words()
    layer = "/cache/environments/key.layers/a"
    overlay = f"--overlay {layer}/environment {layer}/environment.work /cache/environments/key "
    assert text.index("--tmpfs /cache/environments ") < text.index(f"--overlay-src /cache/environments/key {overlay}")


def test_the_environment_itself_is_writable_while_it_is_built() -> None:
    assert "--bind /cache/environments/key /cache/environments/key " in words(sight=replace(SIGHT, building=True))


def test_mount_points_and_sockets_below_a_layer_are_mounted_again_once() -> None:
    text = words()
    assert text.index("--overlay-src /var ") < text.index("--dev-bind-try /var/lib/x /var/lib/x ")
    for path in ("/etc/resolv.conf", "/var/lib/b.sock"):
        assert f"--dev-bind-try {path} {path} " in text
    for path in ("/var/lib/x/y", "/run/a.sock", "/srv"):
        assert f"bind-try {path} " not in text


def test_mnt_keeps_its_entries_except_project() -> None:
    text = words()
    assert "--dev-bind-try /mnt/disk /mnt/disk --symlink disk /mnt/link --bind" in text
    assert text.count("/mnt/project ") == 1


def test_without_a_mnt_the_project_is_not_mounted_there() -> None:
    assert "/mnt" not in words(machine=replace(MACHINE, mnt=None))


def test_without_root_only_the_environment_has_a_layer_and_var_tmp_is_replaced() -> None:
    text = words(machine=replace(MACHINE, root=False))
    assert text.count("--overlay ") == 1
    assert "--bind /cache/environments/key.layers/a/var_tmp /var/tmp " in text


def test_without_layers_the_environment_is_writable_and_no_folder_has_an_overlay() -> None:
    text = words(replace(SANDBOX, layers=False))
    assert "--overlay" not in text
    assert "--bind /cache/environments/key /cache/environments/key " in text
    assert "/var/tmp" not in text


def test_without_a_process_namespace_folders_are_still_hidden() -> None:
    text = words(replace(SANDBOX, processes=False))
    assert "--unshare-pid" not in text
    assert "--proc" not in text
    assert "--tmpfs /data " in text


@pytest.mark.parametrize("home", ["/tmp/me", "/var/lib/me"])
def test_a_home_in_a_covered_folder_is_mounted_again(home: str) -> None:
    text = words(machine=replace(MACHINE, home=Path(home)))
    assert f"--bind {home} {home} " in text
    assert f"--bind {home} " not in words()


def test_an_interpreter_below_tmp_is_mounted_again() -> None:
    text = words(machine=replace(MACHINE, interpreter=Path("/tmp/python")))
    assert text.index(" /tmp ") < text.index("--ro-bind /tmp/python /tmp/python ")


def test_the_hosts_file_is_mounted_after_the_layer_of_etc() -> None:
    text = words()
    assert text.index("--overlay-src /etc ") < text.index("--ro-bind /data/run/hosts /etc/hosts ")
    assert "/etc/hosts" not in words(sight=replace(SIGHT, hosts=None))
