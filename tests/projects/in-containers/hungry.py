import glob
import os
import re
import subprocess
import time

MEBIBYTE = 2**20


def variables():
    """The variables of all processes that this one may look into."""
    found = b""
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                found += file.read()
        except OSError:
            continue
    return found


class Handler:
    def handle_async(self, payload):
        time.sleep(payload.get("sleep_s", 0))
        for _ in range(payload.get("orphans", 0)):
            subprocess.run(["sh", "-c", "sleep 0.1 &"], check=True)
        kept = [os.urandom(MEBIBYTE) for _ in range(payload.get("mebibytes", 0))]
        return {"mebibytes": len(kept), "reads": sorted(set(re.findall(r"INSULA_[A-Z0-9_]+", variables().decode())))}
