"""Identifies the language of a text."""

from py3langid.langid import MODEL_FILE, LanguageIdentifier


class Handler:
    def __init__(self, config):
        # norm_probs turns the model's scores into probabilities, so "confidence" is between 0 and 1.
        self.identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        if "languages" in config:
            self.identifier.set_languages(config["languages"])

    def handle_async(self, payload):
        """`payload` is text/plain, JSON {"text": ...}, or the bytes of a UTF-8 file with any other type."""
        text = payload.get("text") if isinstance(payload, dict) else payload
        if not isinstance(text, (str, bytes)) or not text:
            raise ValueError('send a text, as text/plain or as JSON like {"text": "Guten Tag"}')
        language, confidence = self.identifier.classify(text)
        return {"language": language, "confidence": round(confidence, 4)}
