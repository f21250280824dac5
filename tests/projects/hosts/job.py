"""Writes the name of its host for each run. Then it waits until a file with that name is in the folder `hold`."""

import os
import socket
import time


class Handler:
    def handle_async(self, payload):
        if not isinstance(payload, dict):
            return {"length": len(payload)}
        host = socket.gethostname()
        if "hold" in payload:
            with open(os.path.join(payload["hold"], "runs"), "a") as runs:
                runs.write(host + "\n")
            while not os.path.exists(os.path.join(payload["hold"], host)):
                time.sleep(0.05)
        return {"host": host, "padding": "x" * payload.get("padding", 0)}
