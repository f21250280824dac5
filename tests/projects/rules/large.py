"""Takes more memory to load than its entry in cortex.yaml reserves."""

MODEL = b"x" * (100 << 20)


class Handler:
    def handle_async(self):
        return {"model_bytes": len(MODEL)}
