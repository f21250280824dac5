import boto3
import joblib

labels = ["setosa", "versicolor", "virginica"]
features = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


class Handler:
    def __init__(self, config):
        s3 = boto3.client("s3")
        s3.download_file(config["bucket"], config["key"], "model.joblib")
        self.model = joblib.load("model.joblib")

    def handle_async(self, payload):
        measurements = [payload[feature] for feature in features]
        [probabilities] = self.model.predict_proba([measurements])
        best = probabilities.argmax()
        return {"label": labels[best], "probability": round(float(probabilities[best]), 4)}
