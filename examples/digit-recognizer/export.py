"""Trains the model, writes it as digits.onnx, and writes one image of each digit that was not used for training.

It needs packages that the handler does not need: pip install scikit-learn==1.9.0 skl2onnx==1.20.0 Pillow
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

os.chdir(Path(__file__).resolve().parent)
x_train, x_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), test_size=0.2, random_state=7)
network = MLPClassifier((128,), alpha=0.1, max_iter=300, random_state=7)
model = make_pipeline(MinMaxScaler(), network).fit(x_train, y_train)
print(f"accuracy on held-out digits: {model.score(x_test, y_test):.3f}")

# Without zipmap the probabilities are one array, not a list of dictionaries.
onnx = to_onnx(model, initial_types=[("pixels", FloatTensorType([None, 64]))], options={"zipmap": False})
with open("digits.onnx", "wb") as file:
    file.write(onnx.SerializeToString())

for digit in range(10):
    pixels = x_test[list(y_test).index(digit)].reshape(8, 8)
    image = Image.fromarray(np.round(pixels * 255 / 16).astype(np.uint8))
    image.resize((64, 64), Image.Resampling.NEAREST).save(f"samples/{digit}.png", optimize=True)
