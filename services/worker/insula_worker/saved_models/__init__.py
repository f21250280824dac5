"""Fetches the SavedModels of a tensorflow handler from S3, before the handler starts.

A program of its own does it, with the environment of the handler: it may read what the handler may read, not what
Insula's own identity may, and its memory goes with it.
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
    """The models cannot be fetched; the text names the key of cortex.yaml, the place in S3, and what to do."""


async def fetch_models(models: Models, folder: Path, variables: Mapping[str, str], view: View) -> RunnerModels:
    """Return the models, all their versions fetched to `folder`, which must not exist. Raises ModelsUnavailable.

    `variables` is the handler's environment, with the AWS_* that say which S3 and who asks. `view` is its view, which
    keeps the folder.
    """
    await asyncio.to_thread(folder.mkdir)
    view.keep(folder)
    task = json.dumps({"folder": str(folder), "sources": [source._asdict() for source in sources(models)]})
    # -I: a PYTHONPATH of the user's is for the handler's interpreter, not for ours.
    command = [sys.executable, "-X", "utf8", "-I", "-m", "insula_worker.saved_models", task]
    try:
        async with running(view.step(), command, folder, variables, PIPE, PIPE) as process:
            assert process.stdout is not None, "started with a pipe"
            assert process.stderr is not None, "started with a pipe"
            telling = asyncio.create_task(_tell(process.stdout))
            complaint = (await process.stderr.read()).decode(errors="replace").strip()
            await telling
            code = await process.wait()
    except OSError as error:
        raise ModelsUnavailable(f"the models cannot be fetched: {error}") from error
    if code != 0:
        raise ModelsUnavailable(complaint[-COMPLAINT_CHARS_MAX:] or f"fetching the models ended with exit code {code}")
    keys = signature_keys(models)
    names = await asyncio.to_thread(lambda: sorted(path.name for path in folder.iterdir()))
    return RunnerModels(folder, {name: keys.get(name, models.signature_key) for name in names})


async def _tell(progress: asyncio.StreamReader) -> None:
    async for line in progress:
        log.info("fetching models", extra={"progress": line.decode(errors="replace").rstrip()})


def sources(models: Models) -> list[Source]:
    """Return where the models lie. The one of `dir` has no name: the folders there have."""
    if models.path is not None:
        return [Source("path", ONLY_MODEL, models.path)]
    if models.dir is not None:
        return [Source("dir", "", models.dir)]
    return [Source(f"paths: {model.name}", model.name, model.path) for model in models.paths]


def signature_keys(models: Models) -> dict[str, str | None]:
    """Return what the configuration says of single models."""
    return {model.name: model.signature_key or models.signature_key for model in models.paths}
