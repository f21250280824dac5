"""Calls another API under each URL of the payload, and returns the status of each workload."""

import time

import requests


class Handler:
    def handle_async(self, payload):
        return {url: self.run(url) for url in payload["urls"]}

    def run(self, url):
        id = requests.post(url, json={}, timeout=30).json()["id"]
        while True:
            status = requests.get(url + id, timeout=30).json()["status"]
            if status in ("completed", "failed"):
                return status
            time.sleep(0.05)
