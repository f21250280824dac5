"""Some things may be done in one module only, or in a few. Each test checks one of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePath

from tests.unit.house.tree import OURS, ROOT, dotted, files, name, python_files, strings

MAY_READ_THE_ENVIRONMENT = {
    "__main__.py": "builds the process",
    "settings.py": "reads the settings, once",
    "sitecustomize.py": "Python runs it before any program: nothing of ours builds it",
    "cortex_internal": "user code imports it and nothing of ours builds it: the environment is how the runner tells it",
}
MAY_WRITE_TO_A_STREAM = {
    "src/insula/printing.py": "escapes what would steer a terminal",
    "local/insula_local/view/live.py": "rich gets nothing but such text",
    "src/insula/cli/apis.py": "rich gets nothing but such text, in a table",
    "src/insula/cli/logs.py": "rich gets nothing but such text",
    "src/insula/process/tether.py": "a worker reads it",
    "src/insula/bundles/__main__.py": "a service reads it",
    "services/worker/insula_worker/view/init.py": "a worker reads it",
    "services/worker/insula_worker/saved_models/__main__.py": "a worker reads it",
    "services/worker/cortex_internal/lib/log.py": "a worker reads it",
}
# Two of the runner's frames have the name of a status. They report the handler's outcome, not a workload's status.
SPEAK_FRAMES = ("services/worker/insula_runner/", "services/worker/insula_worker/runners/connection.py")


def places(pattern: str, *prefixes: str) -> Iterator[tuple[str, str]]:
    """Yield file and position of each string in the code that matches `pattern`."""
    for path, tree in python_files(*prefixes):
        for node in strings(tree):
            if re.search(pattern, str(node.value)):
                yield path, f"{path}:{node.lineno} {node.value!r}"


def _reads_environment(node: ast.Attribute | ast.ImportFrom) -> bool:
    match node:
        case ast.Attribute():
            return dotted(node) in {"os.environ", "os.environb", "os.getenv"}
        case ast.ImportFrom(module="os", names=names):
            return any(alias.name in {"environ", "environb", "getenv"} for alias in names)
        case _:
            return False


def test_only_main_and_settings_read_the_environment() -> None:
    """All other modules get their settings as arguments, so a test or a second stack can pass other ones."""
    reads = [
        f"{path}:{node.lineno}"
        for path, tree in python_files(*OURS)
        if not set(PurePath(path).parts) & MAY_READ_THE_ENVIRONMENT.keys()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.ImportFrom) and _reads_environment(node)
    ]
    assert reads == []


def test_every_environment_variable_is_in_the_reference() -> None:
    """docs/settings.md is complete. The runner's variables are excepted: only its own processes set them."""
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    named = (place for path, place in places(r"^INSULA_[A-Z0-9_]+$", *OURS) if "insula_runner" not in path)
    assert [place for place in named if place.split("'")[1].removesuffix("_FILE") not in page] == []


def test_only_the_printing_module_writes_for_people() -> None:
    """This module escapes text of clients and handlers, which must not control a terminal."""
    writes = [
        f"{path}:{node.lineno}"
        for path, tree in python_files(*OURS)
        if path not in MAY_WRITE_TO_A_STREAM
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        if re.search(r"(^|\.)(echo|secho|print)$|\b(stdout|stderr)(\.buffer)?\.write$", dotted(node.func))
    ]
    assert writes == []


def test_only_the_rpc_edge_aborts_calls() -> None:
    """Servicers raise subclasses of InsulaError. One table maps these to gRPC statuses."""
    aborts = [
        f"{path}:{node.lineno}"
        for path, tree in python_files(*OURS)
        if not path.startswith("src/insula/rpc")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and dotted(node.func).endswith("context.abort")
    ]
    assert aborts == []


def test_only_the_keys_module_spells_redis_keys() -> None:
    """Lua scripts get their keys, or the prefixes of keys, as arguments. So they contain no `insula:`."""
    spelled = [place for path, place in places(r"^insula:\S", *OURS) if path != "src/insula/keys.py"]
    in_lua = [name(path) for path in files() if path.suffix == ".lua" and "insula:" in path.read_text(encoding="utf-8")]
    assert spelled + in_lua == []


def test_only_the_redis_client_names_errors_of_redis_py() -> None:
    """The Redis client translates errors of redis-py into Insula's errors, so other modules do not get one."""
    may = {
        "src/insula/stores/redis_client.py",
        "src/insula/stores/redis_wire.py",  # its only user is the coalescer
        "src/insula/ledger/coalescer.py",  # NoScriptError and lost connections, which no caller gets
        "local/insula_local/preflight.py",  # checks the user's own Redis before the start
    }
    named = {
        path
        for path, tree in python_files(*OURS)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "redis.exceptions"
    }
    assert named == may


def test_only_the_status_module_spells_statuses() -> None:
    """Other Python modules use the enum. Lua scripts cannot import it, so they spell the same words."""
    spelled = [
        place
        for path, place in places(r"^(in_queue|in_progress|completed|failed|cancelled)$", *OURS)
        if path != "src/insula/status.py" and not path.startswith(SPEAK_FRAMES)
    ]
    assert spelled == []


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    """sleep(0) is allowed: it only lets other tasks run. tests/waiting.py pauses between checks of a condition."""
    sleeps = [
        f"{path}:{node.lineno}"
        for path, tree in python_files("tests/")
        if path != "tests/waiting.py" and "/projects/" not in path
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and dotted(node.func) in {"time.sleep", "asyncio.sleep"}
        if ast.unparse(node.args[0]) != "0"
    ]
    assert sleeps == []
