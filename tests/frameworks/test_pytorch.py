"""examples/demand-forecaster: PyTorch gives right answers over HTTP through a whole stack."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.environments import python_of
from tests.http_api import HttpApi
from tests.stack import running_stack

PROJECT = Path(__file__).resolve().parents[2] / "examples" / "demand-forecaster"
HISTORY_DAYS, FORECAST_DAYS = 56, 14
WEEK = [1.1, 0.9, 0.9, 1.0, 1.2, 1.5, 0.4]

pytestmark = [pytest.mark.slow, pytest.mark.frameworks, pytest.mark.timeout(1800)]  # the first run installs 900 MB


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[HttpApi]:
    await python_of(PROJECT)
    async with running_stack([PROJECT], data=tmp_path_factory.mktemp("stack")) as stack:
        assert stack.state("demand-forecaster") == ("ready", "")
        yield HttpApi(f"{stack.public}/demand-forecaster")


def demand(level: float, growth: float, first_day: int) -> list[float]:
    """A shop's demand, noiseless: what the forecast has to find."""
    days = range(HISTORY_DAYS + FORECAST_DAYS)
    return [level * WEEK[(day + first_day) % 7] * (1 + growth * day) for day in days]


@pytest.mark.parametrize("first_day", [0, 4])
@pytest.mark.parametrize(("level", "growth"), [(12, 0.004), (5000, -0.003), (140, 0.0)])
def test_it_continues_level_rhythm_and_trend(api: HttpApi, level: float, growth: float, first_day: int) -> None:
    series = demand(level, growth, first_day)
    workload = api.run(json.dumps({"history": series[:HISTORY_DAYS]}).encode(), "application/json")
    assert workload["status"] == "completed"
    forecast = workload["result"]["forecast"]
    assert len(forecast) == FORECAST_DAYS
    errors = [abs(found - true) for found, true in zip(forecast, series[HISTORY_DAYS:], strict=True)]
    assert max(errors) < 0.05 * level


def test_the_sample_is_answered(api: HttpApi) -> None:
    workload = api.run((PROJECT / "samples" / "bakery.json").read_bytes(), "application/json")
    assert workload["result"]["days"] == FORECAST_DAYS
    assert min(workload["result"]["forecast"]) > 0


def test_too_short_a_history_is_refused(api: HttpApi) -> None:
    workload = api.run(b'{"history": [1, 2, 3]}', "application/json")
    assert workload["status"] == "failed"
    assert "a forecast needs 56 days of history, got 3" in workload["error"]["message"]
