import torch
from model import FORECAST_DAYS, HISTORY_DAYS, load


class Handler:
    def __init__(self, config):
        torch.set_num_threads(config.get("threads", 1))
        self.model = load(config["weights"])

    def handle_async(self, payload):
        history = payload["history"]
        if len(history) < HISTORY_DAYS:
            raise ValueError(f"a forecast needs {HISTORY_DAYS} days of history, got {len(history)}")
        recent = torch.tensor([history[-HISTORY_DAYS:]], dtype=torch.float32)
        with torch.inference_mode():
            [forecast] = self.model(recent).tolist()
        return {"forecast": [round(units, 2) for units in forecast], "days": FORECAST_DAYS}
