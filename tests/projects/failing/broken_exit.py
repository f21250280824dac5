import os

os._exit(7)


class Handler:
    def handle_async(self):
        return {}
