import io

from PIL import Image


class Handler:
    def __init__(self, config):
        pass

    def handle_async(self, payload):
        img = Image.open(io.BytesIO(payload))  # read the payload bytes as an image
        print(img.size)
