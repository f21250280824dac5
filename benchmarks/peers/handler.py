"""The work of every peer on Python: the result contains the value of the key "key" of the payload."""


def handle(payload):
    return {"echo": payload["key"]}
