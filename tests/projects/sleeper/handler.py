import time


class Handler:
    def handle_async(self, payload):
        time.sleep(float(payload))
        return {"slept_s": float(payload)}
