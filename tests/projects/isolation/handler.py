class Handler:
    """Runs the code it is sent, as a handler that was taken over would."""

    def handle_async(self, payload):
        names = {}
        exec(payload, names)
        return {"found": names["found"]}
