import pickle


class Handler:
    def __init__(self, config):
        pass

    def handle_async(self, payload):
        obj = pickle.loads(payload)
        print(obj["key"])  # prints "value"
