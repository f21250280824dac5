"""Calls another API the way Cortex' document shows."""

import time

import requests


class Handler:
    def handle_async(self, payload):
        url = "http://api-probe:8888/"
        id = requests.post(url, json=payload, timeout=10).json()["id"]
        while True:
            answer = requests.get(url + id, timeout=10).json()
            if answer["status"] in ("completed", "failed"):
                return {"callee": answer}
            time.sleep(0.05)
