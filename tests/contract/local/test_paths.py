"""Paths may contain any character. SeaweedFS, Valkey, Envoy, gRPC, boto3, bubblewrap and YAML all receive paths."""

from __future__ import annotations

from pathlib import Path

from tests.contract.local.test_refusals import check_refused, up, write_project
from tests.http_api import HttpApi
from tests.stack import running_stack

LENGTH = 200
CHARACTERS = """-a, b:c;"d" 'e' %41%2F $HOME ${HOME} `f` \\x 🐙 ä #?&=[*]{}()<>|!~\n"""
HANDLER = """
import boto3

class Handler:
    def handle_async(self, payload):
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="of-the-handler")
        s3.put_object(Bucket="of-the-handler", Key="key", Body=payload)
        stored = s3.get_object(Bucket="of-the-handler", Key="key")["Body"].read()
        return {"stored": len(stored), "file": open("file.txt").read()}
"""


async def test_the_data_directory_and_the_project_may_have_any_characters(tmp_path: Path) -> None:
    """The stack starts. S3 stores a large payload and a handler's object. No file is written elsewhere."""
    folder = tmp_path / CHARACTERS.ljust(LENGTH, "g")
    project = write_project(folder / "project")
    (project / "handler.py").write_text(HANDLER)
    (project / "file.txt").write_text("text")
    payload = b"x" * 100_000
    async with running_stack([project], data=folder / "data") as stack:
        assert stack.info["data"] == str(folder / "data")
        answer = HttpApi(f"{stack.public}/api").run(payload, "application/octet-stream")
    assert answer["result"] == {"stored": len(payload), "file": "text"}
    assert {path.name for path in folder.iterdir()} == {"data", "project"}
    assert list(tmp_path.iterdir()) == [folder]
    assert any((folder / "data" / "valkey").rglob("*.aof")), "Valkey writes into the data directory"
    assert any((folder / "data" / "seaweedfs").glob("*.dat")), "SeaweedFS too"


def test_a_cache_with_a_colon_in_its_path_is_refused(tmp_path: Path) -> None:
    """Handlers have a folder of the cache in PATH, where a colon separates folders."""
    project = write_project(tmp_path / "project")
    refusal = up(project, environment={"INSULA_CACHE": str(tmp_path / "a:b")})
    check_refused(refusal, "INSULA_CACHE", "holds a colon")


def test_a_path_that_is_too_long_for_sqlite_is_refused(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    check_refused(up(project, "--data", tmp_path / ("a" * 200) / ("b" * 200) / ("c" * 100)), "--data", "bytes")


def test_the_project_of_a_linked_configuration_is_the_folder_of_the_link(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    shared = (project / "cortex.yaml").rename(tmp_path / "shared.yaml")
    (project / "cortex.yaml").symlink_to(shared)
    (tmp_path / "a-file").touch()
    for named in (project, project / "cortex.yaml"):
        refusal = up(project, named, "--data", str(tmp_path / "a-file" / "data"))
        check_refused(refusal, "--data", "a-file")
