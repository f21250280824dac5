"""Shows its payload: its type, and what it holds."""


class Handler:
    def handle_async(self, payload):
        shown = payload.hex() if isinstance(payload, bytes) else payload
        return {"type": type(payload).__name__, "payload": shown}
