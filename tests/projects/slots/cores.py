"""Computes for the seconds in its payload."""

import time
import uuid

process = str(uuid.uuid4())


class Handler:
    def handle_async(self, payload):
        ends = time.process_time() + payload
        while time.process_time() < ends:
            pass
        return {"process": process}
