"""Trains the model in seconds on generated waves, and uploads it as a SavedModel to the S3 path in cortex.yaml.

The version is the time, so the newest one is served. boto3 finds S3 by the AWS_* variables.
"""

import os
import tempfile
import time
from pathlib import Path

import boto3
import keras
import numpy as np
import tensorflow as tf
import yaml

SAMPLES = 64

os.chdir(Path(__file__).resolve().parent)
with open("cortex.yaml") as file:
    handler = yaml.safe_load(file)[0]["handler"]
bucket, _, prefix = handler["models"]["path"].removeprefix("s3://").partition("/")


def waves(count, random):
    """Return sine, square and sawtooth waves of 1 to 5 periods, with a random phase and noise, and the kind of each."""
    kinds = random.integers(0, 3, count)
    periods, phases = random.uniform(1, 5, (count, 1)), random.uniform(0, 1, (count, 1))
    turns = (np.linspace(0, 1, SAMPLES, endpoint=False) * periods + phases) % 1
    shapes = np.stack([np.sin(2 * np.pi * turns), np.where(turns < 0.5, 1.0, -1.0), 2 * turns - 1])
    noise = random.normal(0, 0.1, (count, SAMPLES))
    return (shapes[kinds, np.arange(count)] + noise).astype("float32"), kinds


keras.utils.set_random_seed(7)
model = keras.Sequential(
    [
        keras.Input((SAMPLES,), name="samples"),
        keras.layers.Reshape((SAMPLES, 1)),
        keras.layers.Conv1D(16, 7, activation="relu"),
        keras.layers.Conv1D(16, 7, activation="relu"),
        keras.layers.GlobalMaxPooling1D(),
        keras.layers.Dense(3, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(*waves(20_000, np.random.default_rng(1)), epochs=3, batch_size=64, verbose=0)
_, accuracy = model.evaluate(*waves(2_000, np.random.default_rng(2)), verbose=0)
print(f"accuracy on other waves: {accuracy:.3f}")


@tf.function(input_signature=[tf.TensorSpec([None, SAMPLES], tf.float32, name="samples")])
def serve(samples):
    return {"probabilities": model(samples)}


with tempfile.TemporaryDirectory() as folder:
    tf.saved_model.save(model, folder, signatures=serve)
    s3 = boto3.client("s3")
    if bucket not in [found["Name"] for found in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=bucket)
    version = f"{prefix}{int(time.time())}"
    for path in Path(folder).rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), bucket, f"{version}/{path.relative_to(folder)}")
print(f"uploaded to s3://{bucket}/{version}/")
