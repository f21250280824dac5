"""The document's interface; it returns what it was given."""

# initialization code and variables can be declared here in global scope
from vocabulary import WORDS

calls = {"module": 1, "__init__": 0, "handle_async": 0}


class Handler:
    def __init__(self, config, metrics_client):
        calls["__init__"] += 1
        self.config = config
        self.metrics_client = metrics_client
        metrics_client.gauge("words", len(WORDS))

    def handle_async(self, payload, request_id):
        calls["handle_async"] += 1
        self.metrics_client.increment("handled", tags={"words": str(len(WORDS))})
        self.metrics_client.histogram("payload_length", len(payload))
        if isinstance(payload, dict) and "return" in payload:
            return payload["return"]
        if isinstance(payload, dict) and "unserializable" in payload:
            return {"set": {1, 2}}
        return {
            "type": type(payload).__name__,
            "payload": list(payload) if isinstance(payload, bytes) else payload,
            "request_id": request_id,
            "config": self.config,
            "calls": calls,
            "words": WORDS,
        }
