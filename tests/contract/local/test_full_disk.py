"""A disk that is too small, and a disk that fills. `insula up` reports both. No accepted workload is lost.

Each disk is a tmpfs in a mount namespace of the stack. This needs no root.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import requests

from insula.stores.disk import MEBIBYTE, Room, room_of
from insula_local.machine.disk import DiskWatch
from tests.contract.local.test_refusals import Refusal, check_refused, write_project
from tests.http_api import HttpApi
from tests.stack import Stack, running_stack
from tests.waiting import until

PROBE = Path(__file__).parents[2] / "projects" / "probe"
ALONE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--mount", "--map-root-user")
FULL, ROOM_AGAIN = "is full: ", "has room again: "


def on_a_disk(folder: Path, size_mib: int) -> list[str]:
    """Return a command prefix that mounts a disk of this size at `folder` for the command after it."""
    folder.mkdir()
    return [*ALONE, "sh", "-c", f'mount -t tmpfs -o size={size_mib}m tmpfs {folder} && exec "$@"', "sh"]


def test_a_disk_too_small_to_start_on_is_refused(tmp_path: Path) -> None:
    """Otherwise SeaweedFS would wait without limit for its first volume."""
    project, disk = write_project(tmp_path / "project"), tmp_path / "disk"
    command = [sys.executable, "-m", "insula.cli.main", "up", str(project), "--data", str(disk / "data")]
    done = subprocess.run([*on_a_disk(disk, 120), *command], capture_output=True, text=True, timeout=60, check=False)
    refusal = Refusal(done.returncode, done.stdout, done.stderr)
    check_refused(
        refusal, f"The disk of --data {disk}/data has 120 MiB free", "need 192 MiB to start", "Free some space"
    )


class Disk:
    """The stack's disk, filled and freed from outside of its mount namespace."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._filler = Path(f"/proc/{stack.pid}/root{folder}/filler")

    def fill(self, left_mib: int) -> None:
        """Fill the disk except for `left_mib`, while the stack may write to it too."""
        with self._filler.open("wb", buffering=0) as filler:
            while (excess := room_of(self._filler.parent).free_bytes - left_mib * MEBIBYTE) > 0:
                with suppress(OSError):  # the stack took the last block
                    filler.write(bytes(min(excess, MEBIBYTE)))

    def free(self) -> None:
        """Free the space again."""
        self._filler.unlink()


@dataclass
class Caller:
    """Submits workloads to the probe, and keeps the ids of those accepted."""

    url: str
    ids: list[str] = field(default_factory=list[str])

    def post(self, *, large: bool) -> requests.Response:
        body = json.dumps({"return": {"pad": "x" * (100_000 if large else 1)}})
        answer = requests.post(self.url, body, headers={"Content-Type": "application/json"}, timeout=60)
        if answer.status_code == 200:
            self.ids.append(answer.json()["id"])
        return answer

    def is_refused(self) -> bool:
        """Whether a small and a large submit both get 503 with Retry-After. Redis stores the one, S3 the other."""
        answers = [self.post(large=large) for large in (False, True)]
        refused = [answer for answer in answers if answer.status_code != 200]
        for answer in refused:
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2"), answer.text
            assert answer.json()["message"].startswith("storage is full"), answer.text
        return len(refused) == len(answers)

    def is_accepted(self) -> bool:
        return all(self.post(large=large).status_code == 200 for large in (False, True))


@pytest.mark.slow
async def test_a_full_disk_is_reported_and_no_accepted_workload_is_lost(tmp_path: Path) -> None:
    """`insula up` reports it once, and submits get 503. Submits are accepted again once there is space.

    With 20 MiB left, accepted workloads still complete and can be read. With 0 MiB left, Valkey cannot run.
    """
    disk, printed = tmp_path / "disk", tmp_path / "stderr"

    def reported(words: str, times: int) -> bool:
        return printed.read_text().count(words) == times

    with printed.open("wb") as stderr:
        async with running_stack([PROBE], data=disk / "data", stderr=stderr, inside=on_a_disk(disk, 400)) as stack:
            api, caller, filler = HttpApi(f"{stack.public}/probe"), Caller(f"{stack.public}/probe"), Disk(stack, disk)
            assert caller.is_accepted()
            ended = [api.end(id) for id in caller.ids]
            for episode, left_mib in enumerate((20, 0), start=1):
                caller.ids += [api.submit(b'{"sleep_s": 2}', "application/json") for _ in range(2)]
                filler.fill(left_mib)
                await until(caller.is_refused)
                await until(partial(reported, FULL, episode))
                if left_mib:
                    assert [api.end(id) for id in caller.ids[: len(ended)]] == ended
                    assert {api.end(id)["status"] for id in caller.ids} == {"completed"}
                filler.free()
                await until(partial(reported, ROOM_AGAIN, episode))
                await until(caller.is_accepted, within_s=180)  # SeaweedFS checks the disk once a minute
            assert {api.end(id, within_s=120)["status"] for id in caller.ids} == {"completed"}
            assert [api.end(one["id"]) for one in ended] == ended
    assert reported(FULL, 2), "once for each time that the disk was full"


def test_a_full_disk_is_reported_once_until_it_has_room_again(tmp_path: Path) -> None:
    """A large disk is full with less than 1 % free: SeaweedFS stops writing. A small one, with less than 32 MiB."""
    watch = DiskWatch(tmp_path)
    large, small = 1000 * 1024 * MEBIBYTE, 1024 * MEBIBYTE
    assert watch.change(Room(11 * 1024 * MEBIBYTE, large)) is None
    report = watch.change(Room(9 * 1024 * MEBIBYTE, large))
    assert report is not None
    assert f"The disk of {tmp_path} is full: 9,216 MiB are free, the stores need 10,240 MiB." in report
    assert watch.change(Room(0, large)) is None
    assert watch.change(Room(11 * 1024 * MEBIBYTE, large)) is None, "just above the limit, it may soon be full again"
    assert watch.change(Room(63 * MEBIBYTE, small)) is None
    assert "has room again" in str(watch.change(Room(64 * MEBIBYTE, small)))
    assert "is full" in str(watch.change(Room(31 * MEBIBYTE, small)))
