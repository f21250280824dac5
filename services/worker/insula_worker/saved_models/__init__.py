"""Fetches the SavedModels of a tensorflow handler from S3, before the handler starts.

A separate process fetches them, with the handler's environment variables. It therefore has the handler's permissions in
S3, not Insula's, and its memory is freed when it ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from insula.errors import InsulaError
from insula.project.configuration.spec import Models
from insula_runner.handler.tensorflow_client import ONLY_MODEL
from insula_worker.runners.process import RunnerModels
from insula_worker.saved_models.sources import Source
from insula_worker.view import View
from insula_worker.view.program import running

log = logging.getLogger(__name__)

COMPLAINT_CHARS_MAX: Final = 4096


class ModelsUnavailable(InsulaError):
    """The models cannot be fetched. The text names the key in cortex.yaml, the S3 URI and the cause."""


async def fetch_models(models: Models, folder: Path, variables: Mapping[str, str], view: View) -> RunnerModels:
    """Fetch all versions of the models to `folder`, which must not exist. Raises ModelsUnavailable.

    `variables` is the handler's environment; its AWS_* variables set the S3 endpoint and the credentials. `view` is the
    handler's view; the folder is made visible in it.
    """
    await asyncio.to_thread(folder.mkdir)
    view.keep(folder)
    task = json.dumps({"folder": str(folder), "sources": [source._asdict() for source in sources(models)]})
    # -I ignores the project's PYTHONPATH, which is meant for the handler's interpreter, not for ours.
    command = [sys.executable, "-X", "utf8", "-I", "-m", "insula_worker.saved_models", task]
    try:
        async with running(view.step(), command, folder, variables, PIPE, PIPE) as process:
            assert process.stdout is not None, "started with a pipe"
            assert process.stderr is not None, "started with a pipe"
            logging_progress = asyncio.create_task(_log_progress(process.stdout))
            complaint = (await process.stderr.read()).decode(errors="replace").strip()
            await logging_progress
            code = await process.wait()
    except OSError as error:
        raise ModelsUnavailable(f"the models cannot be fetched: {error}") from error
    if code != 0:
        raise ModelsUnavailable(complaint[-COMPLAINT_CHARS_MAX:] or f"fetching the models ended with exit code {code}")
    keys = signature_keys(models)
    names = await asyncio.to_thread(lambda: sorted(path.name for path in folder.iterdir()))
    return RunnerModels(folder, {name: keys.get(name, models.signature_key) for name in names})


async def _log_progress(progress: asyncio.StreamReader) -> None:
    async for line in progress:
        log.info("fetching models", extra={"progress": line.decode(errors="replace").rstrip()})


def sources(models: Models) -> list[Source]:
    """Return the locations of the models in S3. That of the key `dir` has no name: its folders name the models."""
    if models.path is not None:
        return [Source("path", ONLY_MODEL, models.path)]
    if models.dir is not None:
        return [Source("dir", "", models.dir)]
    return [Source(f"paths: {model.name}", model.name, model.path) for model in models.paths]


def signature_keys(models: Models) -> dict[str, str | None]:
    """Return the signature key of each model in `paths`, None if the configuration names none."""
    return {model.name: model.signature_key or models.signature_key for model in models.paths}
