"""Returns when the file that its payload names exists."""

import os
import time


class Handler:
    def handle_async(self, payload):
        while not os.path.exists(payload["gate"]):
            time.sleep(0.02)
        return {"opened": payload["gate"]}
