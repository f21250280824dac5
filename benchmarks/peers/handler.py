"""The work of every system: it answers with the payload's key."""


def handle(payload):
    return {"echo": payload["key"]}
