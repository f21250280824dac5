import csv
import math

import numpy as np
import xgboost


class Handler:
    def __init__(self, config):
        self.model = xgboost.Booster(model_file=config["model"])
        self.threshold = config.get("threshold", 0.5)

    def handle_async(self, payload):
        """Classify tumors. `payload` is one tumor as JSON, or many as a CSV file with a header line (text/csv)."""
        tumors = [payload] if isinstance(payload, dict) else list(csv.DictReader(payload.decode().splitlines()))
        rows = np.array([self.measurements(tumor) for tumor in tumors])
        probabilities = self.model.inplace_predict(rows)
        return {
            "diagnoses": ["malignant" if p >= self.threshold else "benign" for p in probabilities],
            "probabilities": [round(float(p), 4) for p in probabilities],
        }

    def measurements(self, tumor):
        names = self.model.feature_names
        if not any(name in tumor for name in names):
            raise ValueError(f"send some of these measurements: {', '.join(names)}")
        # XGBoost handles missing values.
        return [float(tumor[name]) if tumor.get(name) not in (None, "") else math.nan for name in names]
