"""Runs the Python that its payload is; `result` is what it returns."""


class Handler:
    def handle_async(self, payload):
        names = {"result": {}}
        exec(payload, names)
        return names["result"]
