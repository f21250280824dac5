"""Trains the model, writes it as model.ubj, and writes samples that were not used for training.

It needs packages that the handler does not need: pip install scikit-learn==1.9.0
"""

import csv
import json
import os
from pathlib import Path

import xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

os.chdir(Path(__file__).resolve().parent)
data = load_breast_cancer()
names = [str(name) for name in data.feature_names]
malignant = 1 - data.target
x_train, x_test, y_train, y_test = train_test_split(data.data, malignant, test_size=60, random_state=7)

parameters = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.2, "seed": 7}
model = xgboost.train(parameters, xgboost.DMatrix(x_train, y_train, feature_names=names), num_boost_round=60)
probabilities = model.predict(xgboost.DMatrix(x_test, feature_names=names))
print(f"accuracy on held-out tumors: {((probabilities >= 0.4) == y_test).mean():.3f}")
model.save_model("model.ubj")

for name, number in (("malignant", list(y_test).index(1)), ("benign", list(y_test).index(0))):
    with open(f"samples/{name}.json", "w") as file:
        json.dump(dict(zip(names, x_test[number].tolist(), strict=True)), file, indent=2)
        file.write("\n")
with open("samples/held-out.csv", "w", newline="") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow([*names, "diagnosis"])
    for row, is_malignant in zip(x_test.tolist(), y_test, strict=True):
        table.writerow([*row, "malignant" if is_malignant else "benign"])
