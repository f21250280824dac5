class Handler:
    def __init__(self, config):
        print("an attempt to start")
        self.model = self.load(config)

    def load(self, config):
        raise RuntimeError(f"no model in {config}")

    def handle_async(self):
        return {}
