"""Sleeps for the seconds in its payload. A dictionary ends the process."""

import os
import time


class Handler:
    def handle_async(self, payload):
        if isinstance(payload, dict):
            os._exit(3)
        time.sleep(payload)
        return {"slept_s": payload}
