import base64
import io

from PIL import Image


class Handler:
    def __init__(self, config):
        self.pixels = config["pixels"]

    def handle_async(self, payload):  # the bytes of an image
        image = Image.open(io.BytesIO(payload)).convert("RGB")
        image.thumbnail((self.pixels, self.pixels))
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG")
        return {"width": image.width, "height": image.height, "jpeg": base64.b64encode(jpeg.getvalue()).decode()}
