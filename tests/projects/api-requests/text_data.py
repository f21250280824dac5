class Handler:  # the document calls it Handle, which is refused: see test_api_requests.py
    def __init__(self, config):
        pass

    def handle_async(self, payload):
        print(payload)  # prints "hello world"
