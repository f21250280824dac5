"""Trains the model and uploads it to the S3 path in cortex.yaml. boto3 finds S3 by the AWS_* variables."""

import os
from pathlib import Path

import boto3
import joblib
import yaml
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

os.chdir(Path(__file__).resolve().parent)
with open("cortex.yaml") as file:
    config = yaml.safe_load(file)[0]["handler"]["config"]

x_train, x_test, y_train, y_test = train_test_split(*load_iris(return_X_y=True), test_size=0.3, random_state=7)
model = LogisticRegression(max_iter=1000).fit(x_train, y_train)
print(f"accuracy on held-out flowers: {model.score(x_test, y_test):.3f}")

s3 = boto3.client("s3")
if config["bucket"] not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
    s3.create_bucket(Bucket=config["bucket"])
joblib.dump(model, "/tmp/model.joblib")
s3.upload_file("/tmp/model.joblib", config["bucket"], config["key"])
print(f"uploaded to s3://{config['bucket']}/{config['key']}")
