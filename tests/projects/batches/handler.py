"""Returns its payload. A number is first the time to sleep, in seconds; a text is answered by its length."""

import time


class Handler:
    def handle_async(self, payload):
        if isinstance(payload, (int, float)):
            time.sleep(payload)
        if isinstance(payload, str) and payload.startswith("grow"):
            return {"text": payload * 3}
        return {"length": len(payload)} if isinstance(payload, (str, bytes)) else {"payload": payload}
