class Handler:
    def handle_async(self):
        return {}
