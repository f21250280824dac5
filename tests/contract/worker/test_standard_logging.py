"""Records of the standard `logging` module become JSON lines with the logger's name, from `handler.log_level` on.

If the handler configures logging itself, only its own configuration applies.
"""

from __future__ import annotations

from typing import Any

import pytest

from insula_worker.runners.messages import Completed
from tests.contract.worker.conftest import Printed, Start, job
from tests.running import Running


async def lines_of(runner: Running, printed: Printed) -> list[dict[str, Any]]:
    """Run one job and stop the runner. Return the lines of the job."""
    assert isinstance(await runner.run(job("one")), Completed)
    await runner.process.stop(5)
    return [line for line in printed.lines() if line.get("id") == "one"]


def shown(lines: list[dict[str, Any]]) -> list[tuple[str, str, object]]:
    return [(line["levelname"], line["message"], line.get("name")) for line in lines]


async def test_a_record_is_a_line_with_its_loggers_name(start: Start, printed: Printed) -> None:
    """The line has the keys of a line of Cortex' logger, and `name`. `extra` is flattened by one level."""
    runner = await start('logging.getLogger("app.model").info("score %.1f", 0.5, extra={"step": 3, "at": {"x": 1}})')
    [line] = await lines_of(runner, printed)
    assert line.pop("asctime")
    assert line == {
        "levelname": "INFO",
        "message": "score 0.5",
        "process": runner.process.own_pid,
        "labels": {"apiName": "echo", "apiKind": "AsyncAPI"},
        "name": "app.model",
        "step": 3,
        "at": {"x": 1},
        "id": "one",
        "traceId": "trace-of-one",
    }


async def test_the_functions_of_the_module_log_too(start: Start, printed: Printed) -> None:
    """Python's logging.info() configures logging if nobody has. Each record still becomes one line."""
    runner = await start(
        """
        logging.info("first")
        logging.getLogger("app").warning("second")
        try:
            1 / 0
        except ZeroDivisionError:
            logging.exception("third")
        log.info("the document's")
        """
    )
    lines = await lines_of(runner, printed)
    assert shown(lines) == [
        ("INFO", "first", "root"),
        ("WARNING", "second", "app"),
        ("ERROR", "third", "root"),
        ("INFO", "the document's", None),
    ]
    assert "ZeroDivisionError: division by zero" in lines[2]["exc_info"]


@pytest.mark.parametrize(
    ("log_level", "levels"),
    [
        ("debug", ["DEBUG", "INFO", "WARNING", "ERROR"]),
        ("info", ["INFO", "WARNING", "ERROR"]),
        ("warning", ["WARNING", "ERROR"]),
        ("error", ["ERROR"]),
    ],
)
async def test_the_level_is_the_one_of_cortex_yaml(
    start: Start, printed: Printed, log_level: str, levels: list[str]
) -> None:
    write = 'for name in ("debug", "info", "warning", "error"): getattr(logging.getLogger("app"), name)("x")'
    lines = await lines_of(await start(write, log_level=log_level), printed)
    assert [line["levelname"] for line in lines] == levels


STREAM = 'handler = logging.StreamHandler(sys.stdout); handler.setFormatter(logging.Formatter("mine %(message)s")); '
DICTIONARY = """logging.config.dictConfig({
    "version": 1,
    "formatters": {"mine": {"format": "mine %(message)s"}},
    "handlers": {"mine": {"class": "logging.StreamHandler", "formatter": "mine", "stream": "ext://sys.stdout"}},
    "root": {"level": "DEBUG", "handlers": ["mine"]},
})"""


@pytest.mark.parametrize(
    "configure",
    [
        'logging.basicConfig(level=logging.DEBUG, format="mine %(message)s", stream=sys.stdout)',
        'logging.basicConfig(level=10, format="mine %(message)s", stream=sys.stdout, force=True)',
        'logging.info("before"); logging.basicConfig(level=10, format="mine %(message)s", stream=sys.stdout)',
        DICTIONARY,
        STREAM + "logging.getLogger().addHandler(handler); logging.getLogger().setLevel(10)",
        STREAM + 'logging.getLogger("app").addHandler(handler); logging.getLogger("app").setLevel(10)',
    ],
    ids=["basicConfig", "force", "after a line", "dictConfig", "handler of root", "handler of a logger"],
)
async def test_the_handlers_own_configuration_wins_and_nothing_is_doubled(
    start: Start, printed: Printed, configure: str
) -> None:
    runner = await start(configure, 'logging.getLogger("app").debug("once")', 'log.info("the document\'s")')
    lines = [line for line in await lines_of(runner, printed) if line["message"] != "before"]
    assert shown(lines) == [("INFO", "mine once", None), ("INFO", "the document's", None)]


async def test_threads_and_child_processes_log_as_the_handler_does(start: Start, printed: Printed) -> None:
    """Children of multiprocessing log JSON lines, with each start method. Other programs log as they are configured."""
    runner = await start(
        """
        thread = threading.Thread(target=logging.getLogger("thread").info, args=("x",))
        thread.start()
        thread.join()
        for method in ("fork", "spawn", "forkserver"):
            child = multiprocessing.get_context(method).Process(target=logging.getLogger(method).info, args=("x",))
            child.start()
            child.join()
        program = 'import logging; logging.info("not shown"); logging.warning("plain")'
        subprocess.run([sys.executable, "-c", program])
        """
    )
    lines = await lines_of(runner, printed)
    assert {(line["message"], line.get("name")) for line in lines} == {
        *(("x", name) for name in ("thread", "fork", "spawn", "forkserver")),
        ("WARNING:root:plain", None),
    }
    assert len(lines) == 5


async def test_a_reserved_key_is_refused_as_the_documented_logger_does(start: Start, printed: Printed) -> None:
    runner = await start('logging.getLogger("app").info("x", extra={"labels": 1, "step": 2})')
    line, refusal = await lines_of(runner, printed)
    assert (line["labels"]["apiName"], line["step"]) == ("echo", 2)
    assert refusal["message"].startswith('extra keys "labels" are reserved and were left out of the line logged at ')


async def test_warnings_go_where_they_went(start: Start, printed: Printed) -> None:
    lines = await lines_of(await start('warnings.warn("careful")'), printed)
    assert [line["levelname"] for line in lines] == ["WARNING", "WARNING"]
    assert lines[0]["message"].endswith("UserWarning: careful")
    assert all("name" not in line for line in lines)
