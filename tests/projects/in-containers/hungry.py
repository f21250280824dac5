import os
import subprocess
import time

MEBIBYTE = 2**20


class Handler:
    def handle_async(self, payload):
        time.sleep(payload.get("sleep_s", 0))
        for _ in range(payload.get("orphans", 0)):
            subprocess.run(["sh", "-c", "sleep 0.1 &"], check=True)
        kept = [os.urandom(MEBIBYTE) for _ in range(payload.get("mebibytes", 0))]
        return {"mebibytes": len(kept)}
