"""What a check of the handler's file alone cannot see."""


class ExtraArgument:
    def __init__(self, config):
        pass

    def handle_async(self, payload, headers):
        return {"payload": payload, "headers": headers}
