"""The public names of `import insula`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import pytest
from hatchling.builders.wheel import WheelBuilder

import insula
from insula import client, errors
from insula.client.failures import _ERRORS  # pyright: ignore[reportPrivateUsage] - the table is what is compared
from insula.rpc.statuses import reason
from tests.unit.house.test_error_table import leaves
from tests.unit.house.tree import ROOT


def test_every_public_name_can_be_imported_from_the_package() -> None:
    for name in insula.__all__:
        assert getattr(insula, name).__module__.startswith(("insula.", "typing", "types")), name
    assert set(client.__all__) <= set(insula.__all__)
    assert set(insula.__all__) <= set(dir(insula))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = insula.Nothing


def test_every_error_is_a_public_name() -> None:
    """`insula` exports all subclasses of InsulaError in insula.errors, and three errors that only clients raise."""
    tree = [
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert {name for name in tree if issubclass(getattr(errors, name), errors.InsulaError)} <= set(insula.__all__)
    assert {"CallFailed", "Unreachable", "WorkloadFailed"} <= set(insula.__all__)


def test_a_client_raises_every_error_that_a_service_does() -> None:
    """No client raises LeaseLost, which only workers get."""
    served = {kind for kind in leaves(errors.InsulaError) if kind is not errors.LeaseLost}
    reasons = {reason(kind) for kind in served}
    assert reasons - _ERRORS.keys() == set()


@pytest.mark.parametrize("code", ["import insula.errors, insula.cli.main", "import insula; insula.QueueFull"])
def test_a_name_is_loaded_at_its_first_use(code: str) -> None:
    """Errors and commands do not load gRPC, which takes ten times as long to import."""
    check = f"import sys; {code}; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_the_wheel_has_py_typed() -> None:
    shipped = {each.distribution_path for each in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {"insula/py.typed", "insula/v1/workload_pb2.pyi"} <= shipped


def typed(sync: insula.Client, loop: insula.AsyncClient) -> None:
    """Check the types of the public methods with mypy and pyright. No test calls this function."""
    assert_type(sync.submit("a", {}, idempotency_key="k"), str)
    assert_type(sync.run("a", b""), dict[str, Any])
    assert_type(sync.watch("a", "id"), Iterator[insula.Workload])
    assert_type(sync.map("a", [{}, "text", b""]), Iterator[insula.Outcome])
    assert_type(loop.map("a", [{}]), AsyncIterator[insula.Outcome])
    assert_type(loop.watch("a", "id"), AsyncIterator[insula.Workload])
    assert_type(insula.QueueFull("a", 1, insula.StoreFull().retry_after).limit, int)
