import requests


class Handler:
    def handle_async(self, payload):  # noqa: ARG002
        response = requests.post("http://api-text-generator:8888/", json={"text": "machine learning is"})
        # ...
        print("asked as", response.json()["id"])
