from __future__ import annotations

import pytest

from insula_worker.saved_models.sources import Source, SourceInvalid

ONE = Source("path", "only", "s3://bucket/models/text")
FOLDER = Source("dir", "", "s3://bucket/models/")


def files(source: Source, *paths: str) -> set[str]:
    """Return the files of a model's source in S3 that has objects at these paths below its prefix."""
    found = source.files([source.prefix + path for path in paths])
    assert all(key.startswith(source.prefix) for key in found.values())
    return set(found)


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/a", "bucket", "a/"),
        ("s3://my.bucket/a/b/", "my.bucket", "a/b/"),
    ],
)
def test_a_uri_is_a_bucket_and_a_folder_in_it(uri: str, bucket: str, prefix: str) -> None:
    source = Source("path", "only", uri)
    assert (source.bucket, source.prefix) == (bucket, prefix)


def test_a_model_without_versions_is_version_1() -> None:
    found = files(ONE, "", "saved_model.pb", "variables/", "variables/variables.index", "assets/words.txt")
    assert found == {"only/1/saved_model.pb", "only/1/variables/variables.index", "only/1/assets/words.txt"}


def test_folders_named_by_numbers_are_versions_and_others_are_left_out() -> None:
    found = files(ONE, "1523423423/saved_model.pb", "7/saved_model.pb", "8/README", "old/saved_model.pb", "notes.txt")
    assert found == {"only/1523423423/saved_model.pb", "only/7/saved_model.pb"}


def test_each_folder_of_a_dir_is_a_model() -> None:
    found = files(FOLDER, "a/saved_model.pb", "b/1/saved_model.pb", "b/2/saved_model.pb", "README.md")
    assert found == {"a/1/saved_model.pb", "b/1/saved_model.pb", "b/2/saved_model.pb"}


@pytest.mark.parametrize(
    ("source", "paths", "problem"),
    [
        (ONE, [], "folders named by a version number that hold one (there is nothing)"),
        (ONE, ["model.h5", "v1/saved_model.pb"], "expected saved_model.pb, or folders named by a version number"),
        (ONE, ["model.h5", "v1/saved_model.pb"], "(found model.h5, v1)"),
        (ONE, [f"{letter}/x" for letter in "abcdefg"], "(found a, b, c, d, e, ...)"),
        (ONE, ["saved_model.pb", "../../etc/passwd"], 'cannot be the path of a file'),
        (ONE, ["1/saved_model.pb", "1//x"], 'cannot be the path of a file'),
        (FOLDER, ["saved_model.pb"], "there is no folder with a SavedModel (found saved_model.pb)"),
        (FOLDER, ["a/saved_model.pb", "b/model.h5"], "b: expected saved_model.pb"),
        (FOLDER, ["../1/saved_model.pb"], "cannot be the path of a file"),
    ],
)  # fmt: skip
def test_the_error_for_a_missing_model_names_the_files_found(source: Source, paths: list[str], problem: str) -> None:
    with pytest.raises(SourceInvalid) as raised:
        files(source, *paths)
    assert problem in str(raised.value)
