class Handler:
    def __init__(self, config):
        pass

    def handle_async(self, payload):
        print(payload["key"])  # prints "value"
