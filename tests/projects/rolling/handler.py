"""Writes its id for each run, to the file that the payload names. `result` is the size of the result."""

import time


class Handler:
    def handle_async(self, payload, request_id):
        with open(payload["runs"], "a") as runs:
            runs.write(request_id + "\n")
        time.sleep(0.02)
        if payload.get("raise"):
            raise ValueError("as asked")
        return {"number": payload["number"], "padding": "x" * payload.get("result", 0)}
