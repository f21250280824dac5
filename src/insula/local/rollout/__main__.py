"""Run the rollout: `python -m insula.local.rollout TASK_FILE`, with the AWS_* environment of Insula's own identity."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from insula.local.rollout import apis, stores
from insula.local.rollout.events import STORED, Event, Task


def tell(event: Event) -> None:
    """One line, at once."""
    sys.stdout.write(event.render() + "\n")
    sys.stdout.flush()


def main() -> None:
    """Exit code 0 once every API is ready; an API that never will be keeps it waiting."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    task = Task.parse(Path(sys.argv[1]).read_text(encoding="utf-8"))
    stores.prepare(task.filer, task.token_key, task.bucket)
    tell(Event(STORED))
    with apis.connect(task.admin) as channel:
        apis.follow(channel, apis.deploy_all(channel, task.apis, tell), tell)


if __name__ == "__main__":
    main()
