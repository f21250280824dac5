"""The models of a tensorflow handler are fetched from a real S3, with the handler's credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.project.configuration.spec import Model, Models
from insula_local.parts import Parts
from insula_local.seaweedfs.storage import BUCKET
from insula_worker.runners.process import RunnerModels
from insula_worker.saved_models import ModelsUnavailable, fetch_models
from tests.contract.local.conftest import Bench, prepare, s3_client
from tests.views import open_view

LARGE = b"v" * 9_000_000  # boto3 downloads it in parts

FILES = {
    "plain/saved_model.pb": b"plain",
    "plain/variables/variables.data-00000-of-00001": LARGE,
    "many/3/saved_model.pb": b"three",
    "many/12/saved_model.pb": b"twelve",
}


def models(
    path: str | None = None, paths: tuple[Model, ...] = (), dir: str | None = None, signature_key: str | None = None
) -> Models:
    return Models(path, paths, dir, signature_key)


@pytest.fixture
async def variables(bench: Bench, parts: Parts) -> dict[str, str]:
    """Return a handler's environment. FILES are in the bucket of handlers, and a payload is in Insula's bucket."""
    await bench.start_ready(parts.seaweedfs())
    await prepare(bench, parts)
    s3 = s3_client(parts, handlers=True)
    s3.create_bucket(Bucket="models")
    for name, body in FILES.items():
        s3.put_object(Bucket="models", Key=f"tf/{name}", Body=body)
    s3_client(parts).put_object(Bucket=BUCKET, Key="payloads/saved_model.pb", Body=b"somebody's")
    return {**parts.handlers_s3, "PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"}  # only the handler may use these


def fetched(result: RunnerModels) -> dict[str, bytes]:
    """Return the files written, by relative path."""
    paths = (path for path in result.folder.rglob("*") if path.is_file())
    return {path.relative_to(result.folder).as_posix(): path.read_bytes() for path in paths}


async def test_path_paths_and_dir_are_fetched_with_all_their_versions(
    variables: dict[str, str], tmp_path: Path
) -> None:
    one = await fetch_models(
        models(path="s3://models/tf/plain/", signature_key="k"),
        tmp_path / "one",
        variables,
        open_view(tmp_path / "project"),
    )
    assert one.signature_keys == {"_cortex_default": "k"}
    assert fetched(one) == {
        "_cortex_default/1/saved_model.pb": b"plain",
        "_cortex_default/1/variables/variables.data-00000-of-00001": LARGE,
    }
    named = (Model("a", "s3://models/tf/plain", "own"), Model("b", "s3://models/tf/many", None))
    several = await fetch_models(
        models(paths=named, signature_key="k"), tmp_path / "several", variables, open_view(tmp_path / "project")
    )
    assert several.signature_keys == {"a": "own", "b": "k"}
    assert fetched(several)["b/12/saved_model.pb"] == b"twelve"
    folder = await fetch_models(
        models(dir="s3://models/tf"), tmp_path / "folder", variables, open_view(tmp_path / "project")
    )
    assert folder.signature_keys == {"many": None, "plain": None}
    assert set(fetched(folder)) == {
        "many/3/saved_model.pb", "many/12/saved_model.pb",
        "plain/1/saved_model.pb", "plain/1/variables/variables.data-00000-of-00001",
    }  # fmt: skip


async def test_the_error_names_the_model_that_cannot_be_fetched_and_the_reason(
    variables: dict[str, str], tmp_path: Path
) -> None:
    """One case is a model in Insula's own bucket, which handlers may not read."""
    cases = {
        "handler: models: path: s3://models/none: expected saved_model.pb": models(path="s3://models/none"),
        "path: s3://no-bucket/x: An error occurred (NoSuchBucket)": models(path="s3://no-bucket/x"),
        "dir: s3://models/tf/plain: variables: expected saved_model.pb": models(dir="s3://models/tf/plain"),
        "paths: a: s3://models/x: expected saved_model.pb": models(paths=(Model("a", "s3://models/x", None),)),
        "An error occurred (AccessDenied)": models(path=f"s3://{BUCKET}/payloads"),
    }
    for number, (problem, given) in enumerate(cases.items()):
        with pytest.raises(ModelsUnavailable) as raised:
            await fetch_models(given, tmp_path / f"models-{number}", variables, open_view(tmp_path / "project"))
        assert problem in str(raised.value)
        assert "Traceback" not in str(raised.value)
