"""Run the rollout: `python -m insula_local.rollout TASK_FILE`, with the S3 settings of the services."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from insula.project.consent import Confirmations
from insula_local.rollout.apis import Rollout, connect
from insula_local.rollout.events import STORED, Event, Task
from insula_local.seaweedfs import filer


def tell(event: Event) -> None:
    """One line, at once."""
    sys.stdout.write(event.render() + "\n")
    sys.stdout.flush()


def main() -> None:
    """Exit code 0 once every API is ready; an API that never will be keeps it waiting, and --watch for ever."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    task = Task.parse(Path(sys.argv[1]).read_text(encoding="utf-8"))
    filer.prepare(Path(os.environ["INSULA_S3_SOCKET"]), Path(task.filer), task.token_key, task.bucket)
    tell(Event(STORED))
    with connect(task.admin) as channel:
        confirmations = Confirmations(Path(os.environ["INSULA_CACHE"])) if task.ask else None
        rollout = Rollout(channel, tell, confirmations=confirmations, all_apis=task.all_apis)
        rollout.deploy_all(task.apis)
        if task.watch:
            watch(rollout, task)
        rollout.follow()


def watch(rollout: Rollout, task: Task) -> None:
    """Deploy what is saved; returns if files cannot be watched."""
    from insula_local.rollout.watching import Reloading

    try:
        Reloading(rollout, dict.fromkeys(Path(api.config_path) for api in task.apis)).run()
    except OSError as error:
        sys.stdout.write(f"  --watch does not work here, deploy what you save with `insula deploy`: {error}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
