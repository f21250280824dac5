class Handler:
    def __init__(self, config, tensorflow_client):
        self.client = tensorflow_client
        self.settings = config

    def handle_async(self, payload):
        return self.client.predict(payload.pop("input"), **payload)
