import io

import numpy as np
import onnxruntime
from PIL import Image


class Handler:
    def __init__(self, config):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = config.get("threads", 1)
        self.session = onnxruntime.InferenceSession(config["model"], options, providers=["CPUExecutionProvider"])

    def handle_async(self, payload):
        """Recognize the digit in an image. `payload` is a square image, light on dark, that the digit fills."""
        image = Image.open(io.BytesIO(payload)).convert("L").resize((8, 8), Image.Resampling.BOX)
        # The training images have 8 x 8 pixels of 17 shades, 0 to 16.
        pixels = np.asarray(image, dtype=np.float32).reshape(1, 64) * 16 / 255
        digits, probabilities = self.session.run(None, {"pixels": pixels})
        return {"digit": int(digits[0]), "confidence": round(float(probabilities[0].max()), 4)}
