"""Does what its payload says; the tests' own handler."""

import os
import time


class Handler:
    def __init__(self, config):
        self.greeting = config["greeting"]

    def handle_async(self, payload, request_id):
        if not isinstance(payload, dict):
            return {"type": type(payload).__name__, "length": len(payload)}
        if "log" in payload:  # one line for each time the handler ran
            with open(payload["log"], "a") as log:
                log.write(request_id + "\n")
        time.sleep(payload.get("sleep_s", 0))
        if "allocate_mib" in payload:
            kept = b"x" * (payload["allocate_mib"] << 20)
            time.sleep(60)
            return {"kept": len(kept)}
        if "exit" in payload:
            os._exit(payload["exit"])
        if "raise" in payload:
            raise ValueError(payload["raise"])
        if "aws" in payload:
            return {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "INSULA_"))}
        return payload.get("return", {"greeting": self.greeting, "id": request_id})
