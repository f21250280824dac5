import io

import numpy as np
from PIL import Image
from rapidocr_onnxruntime import RapidOCR

from cortex_internal.lib.log import logger as log


class Handler:
    def __init__(self, config):
        self.min_confidence = config.get("min_confidence", 0.5)
        self.read = RapidOCR()  # its three models are part of the package

    def handle_async(self, payload):
        """Read the text in an image. `payload` is the bytes of a scan, a photograph or a screenshot."""
        image = Image.open(io.BytesIO(payload)).convert("RGB")  # also if it is grey, has a palette or an alpha channel
        found, _ = self.read(np.asarray(image)[:, :, ::-1])  # the models expect blue, green, red
        lines = [
            {"text": text, "confidence": round(float(confidence), 4), "corner": [round(value) for value in box[0]]}
            for box, text, confidence in found or []
            if float(confidence) >= self.min_confidence
        ]
        log.info("read an image", extra={"lines": len(lines), "dropped": len(found or []) - len(lines)})
        return {"lines": lines}
