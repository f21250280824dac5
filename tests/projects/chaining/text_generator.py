class Handler:
    def handle_async(self, payload):
        print("asked with", payload["text"])
        return {"text": payload["text"] + " fun"}
