class Handler:
    def __init__(self, tensorflow_client, config):
        self.client = tensorflow_client
        self.labels = config["labels"]

    def handle_async(self, payload):
        prediction = self.client.predict({"samples": [payload["samples"]]})
        probabilities = prediction["probabilities"]
        best = probabilities.index(max(probabilities))
        return {"label": self.labels[best], "probability": round(probabilities[best], 4)}
