"""Trains the model in seconds on generated demand: a level, a weekly rhythm, a trend and noise. Writes weights.pt."""

import os
from pathlib import Path

import torch
from model import FORECAST_DAYS, HISTORY_DAYS, Forecaster

DAYS = HISTORY_DAYS + FORECAST_DAYS


def shops(count, noise):
    """Return the daily demand of `count` shops over DAYS days."""
    level = 10 ** torch.empty(count, 1).uniform_(0.5, 4)
    rhythm = torch.empty(count, 7).uniform_(0.5, 1.5).repeat(1, DAYS // 7)
    growth = 1 + torch.empty(count, 1).uniform_(-0.005, 0.005) * torch.arange(DAYS)
    return level * rhythm * growth * (1 + noise * torch.randn(count, DAYS))


def error(model, demand):
    """Return the mean error of the forecast, as a share of the demand."""
    history, future = demand.split([HISTORY_DAYS, FORECAST_DAYS], dim=1)
    return ((model(history) - future).abs() / history.mean(dim=1, keepdim=True)).mean()


os.chdir(Path(__file__).resolve().parent)
torch.manual_seed(7)
torch.set_num_threads(1)
model = Forecaster()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
steps = 1500
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
for _ in range(steps):
    optimizer.zero_grad()
    error(model, shops(128, noise=0.02)).backward()
    optimizer.step()
    schedule.step()
with torch.inference_mode():
    print(f"mean error on new shops: {error(model, shops(1000, noise=0.0)):.3f}")
torch.save(model.state_dict(), "weights.pt")
